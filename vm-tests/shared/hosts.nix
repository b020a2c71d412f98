# The hosts of topology.json as virtual machines, each with the services that are named there; and `fabric`, the gateways.
{
  lib,
  packages,
  hosts,
  ...
}:

let
  topology = lib.importJSON ../topology.json;
  reference = lib.importJSON ../../examples/fiscalismia.json;

  names = [
    "unknown.fiscalismia.com"
    "fastapi.fiscalismia.com"
  ]
  ++ lib.concatMap (route: route.sni) (lib.attrValues reference.routes);

  site =
    pkgs: pkgs.runCommand "site" { nativeBuildInputs = [ pkgs.openssl ]; } "bash ${./make-site} $out";
  inSite = pkgs: lib.replaceStrings [ "@site@" ] [ "${site pkgs}" ];

  interfaces =
    legs:
    lib.mapAttrs' (
      network: leg: lib.nameValuePair leg.interface { inherit (topology.networks.${network}) vlan; }
    ) legs;

  # Addresses and routes of a host, by the program that makes them in the lab too.
  legs =
    name:
    { pkgs, ... }:
    {
      systemd.services.legs = {
        # Nothing but a host's other units pulls network.target in.
        wantedBy = [
          "network.target"
          "multi-user.target"
        ];
        before = [ "network.target" ];
        after = [ "network-pre.target" ];
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
        };
        script = ''
          ${lib.getExe pkgs.python3} ${./legs.py} ${../topology.json} ${name} | ${lib.getExe' pkgs.iproute2 "ip"} -batch -
        '';
      };
    };
  # Of `all` and the device the greater rp_filter holds, and either's send_redirects; systemd sets rp_filter for every device.
  router = {
    boot.kernel.sysctl = {
      "net.ipv4.ip_forward" = 1;
      "net.ipv6.conf.all.forwarding" = 1;
    }
    // lib.listToAttrs (
      lib.mapCartesianProduct
        ({ device, setting }: lib.nameValuePair "net.ipv4.conf.${device}.${setting}" (lib.mkForce 0))
        {
          device = [
            "*"
            "all"
            "default"
          ];
          setting = [
            "rp_filter"
            "send_redirects"
          ];
        }
    );
  };

  services = {
    nginx =
      { pkgs, ... }:
      {
        imports = [ ../../nixos/server.nix ];
        services.fiscalismia-lb.server = {
          enable = true;
          loadBalancers = [
            "172.20.1.3"
            "172.20.1.6"
            "172.24.1.3"
            "172.24.1.6"
          ];
        };
        # Without the lines that the module says for all of nginx.
        services.nginx.appendHttpConfig = inSite pkgs (
          lib.concatStringsSep "\n" (
            lib.filter (line: !lib.hasInfix "set_real_ip_from" line && !lib.hasInfix "real_ip_header" line) (
              lib.splitString "\n" (lib.readFile ./nginx.conf)
            )
          )
        );
      };
    updates.services.nginx = {
      enable = true;
      appendHttpConfig = lib.readFile ./updates.conf;
    };
    prometheus =
      let
        job = lib.head (lib.importJSON ./prometheus.json).scrape_configs;
      in
      {
        imports = [ ../../nixos/monitoring.nix ];
        services.fiscalismia-lb.monitoring = {
          enable = true;
          inherit (lib.head job.static_configs) targets;
          job = job.job_name;
          interval = job.scrape_interval;
        };
        services.grafana = {
          enable = true;
          settings.security.secret_key = "of a test";
        };
        virtualisation.memorySize = 1024;
      };
    nat = {
      imports = [ router ];
      networking.nftables = {
        enable = true;
        rulesetFile = ./nat.nft;
      };
    };
    sshd.services.openssh.enable = true;
    greeter =
      { pkgs, ... }:
      {
        systemd.services.greeter = {
          wantedBy = [ "multi-user.target" ];
          serviceConfig.ExecStart = "${lib.getExe pkgs.python3} ${./greeter.py} 5432";
        };
      };
    haproxy.services.haproxy = {
      enable = true;
      config = lib.readFile ./haproxy.cfg;
    };
    fiscalismia-lb = {
      imports = [
        ../../nixos/module.nix
        ../../nixos/fiscalismia.nix
      ];
      services.fiscalismia-lb.package = lib.mkDefault packages.default;
      # From 1 GB the kernel tracks 65,536 connections, as it does on a real host.
      virtualisation.memorySize = 1536;
      # A line for each connection, and a serial port takes 11 a second.
      environment.etc."systemd/journald.conf.d/quiet.conf".text = "[Journal]\nForwardToConsole=no\n";
      systemd.tmpfiles.rules = [
        "d /run/secrets 0700"
        "f /run/secrets/stats-username 0400 - - - operator"
        "f /run/secrets/stats-password 0400 - - - correct horse"
      ];
    };
  };

  # A second load balancer is the first one with the topology's addresses. A scenario may force others.
  own =
    legs:
    let
      address = leg: lib.mkOverride 60 (lib.head leg.addresses);
    in
    {
      publicAddresses = lib.mkOverride 60 legs.internet.addresses;
      privateInterfaces = {
        ${legs.demo.interface}.address = address legs.demo;
        ${legs.production.interface}.address = address legs.production;
      };
      admin.address = lib.mkOverride 60 "${lib.head legs.production.addresses}:8404";
    };

  host =
    name: description:
    { config, ... }:
    let
      # It makes the load balancer's legs and firewall; every other host has the topology's, and none.
      byModule = config.services.fiscalismia-lb.enable or false;
    in
    {
      imports = [ (legs name) ] ++ map (service: services.${service}) description.services;
      virtualisation.interfaces = interfaces description.legs;
      systemd.services.legs.enable = !byModule;
      networking.firewall.enable = lib.mkIf (!byModule) false;
    }
    // lib.optionalAttrs (lib.elem "fiscalismia-lb" description.services) {
      services.fiscalismia-lb = own description.legs;
    };
in
{
  defaults =
    { pkgs, modulesPath, ... }:
    {
      imports = [ (modulesPath + "/profiles/minimal.nix") ];
      documentation.enable = false;
      virtualisation.memorySize = lib.mkDefault 512;
      # No way out but the topology's: QEMU's own network would be one.
      virtualisation.qemu.networkingOptions = lib.mkForce [ ];
      networking.useDHCP = false;
      networking.hosts = lib.genAttrs topology.hosts.loadbalancer.legs.internet.addresses (_: names);
      security.pki.certificateFiles = [ "${site pkgs}/ca.pem" ];
      environment.systemPackages = [
        pkgs.curl
        (pkgs.writeScriptBin "netprobe" ("#!${lib.getExe pkgs.python3}\n" + lib.readFile ./netprobe.py))
      ];
    };

  nodes = lib.mapAttrs host (lib.getAttrs hosts topology.hosts) // {
    fabric = {
      imports = [
        router
        (legs "fabric")
      ];
      networking.firewall.enable = false;
      virtualisation.interfaces = lib.mapAttrs (_: network: {
        inherit (network) vlan;
      }) topology.networks;
    };
  };
}
