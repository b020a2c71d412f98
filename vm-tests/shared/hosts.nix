# The hosts of topology.json as virtual machines, each with the services that are named there; and `fabric`, the gateways.
{ lib, packages, ... }:

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
        wantedBy = [ "network.target" ];
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
  router = {
    boot.kernel.sysctl = {
      "net.ipv4.ip_forward" = 1;
      "net.ipv6.conf.all.forwarding" = 1;
      "net.ipv4.conf.all.send_redirects" = 0;
      "net.ipv4.conf.default.send_redirects" = 0;
    };
  };

  services = {
    nginx =
      { pkgs, ... }:
      {
        services.nginx = {
          enable = true;
          appendHttpConfig = inSite pkgs (lib.readFile ./nginx.conf);
        };
      };
    updates.services.nginx = {
      enable = true;
      appendHttpConfig = lib.readFile ./updates.conf;
    };
    prometheus.services.prometheus = {
      enable = true;
      scrapeConfigs = (lib.importJSON ./prometheus.json).scrape_configs;
    };
    nat = {
      imports = [ router ];
      networking.nftables = {
        enable = true;
        rulesetFile = ./nat.nft;
      };
    };
    sshd.services.openssh.enable = true;
    fiscalismia-lb = {
      imports = [
        ../../nixos/module.nix
        ../../nixos/fiscalismia.nix
      ];
      services.fiscalismia-lb.package = lib.mkDefault packages.default;
      systemd.tmpfiles.rules = [
        "d /run/secrets 0700"
        "f /run/secrets/stats-username 0400 - - - operator"
        "f /run/secrets/stats-password 0400 - - - correct horse"
      ];
    };
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
    };
in
{
  defaults =
    { pkgs, ... }:
    {
      virtualisation.memorySize = 512;
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

  nodes = lib.mapAttrs host topology.hosts // {
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
