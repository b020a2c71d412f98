# Two load balancers at Hetzner, as it were: `world` is the client, the server, the gateways, and a cloud whose API leads the floating
# IP to one host or the other. nixos/test-failover tries that without virtual machines, and a network of one's own.
{ lib, packages, ... }:

let
  pair = import ../nixos/pair.nix;
  floating = "203.0.113.50";

  host = configuration: {
    imports = [
      ../nixos/module.nix
      configuration
    ];
    virtualisation.interfaces = {
      enp1s0.vlan = 1;
      enp8s0.vlan = 2;
    };
    services.fiscalismia-lb.package = packages.default;
    systemd.tmpfiles.rules = [ "f+ /run/secrets/token 0400 - - - secret" ];
  };
in
{
  defaults =
    { modulesPath, ... }:
    {
      imports = [ (modulesPath + "/profiles/minimal.nix") ];
      documentation.enable = false;
      virtualisation.memorySize = 512;
      virtualisation.qemu.networkingOptions = lib.mkForce [ ];
      networking.useDHCP = false;
    };

  nodes = {
    first = host pair.cloud-first;
    second = host pair.cloud-second;
    world =
      { pkgs, ... }:
      let
        site = pkgs.runCommand "site" {
          nativeBuildInputs = [ pkgs.openssl ];
        } "bash ${./shared/make-site} $out";
      in
      {
        virtualisation.interfaces = {
          internet.vlan = 1;
          production.vlan = 2;
        };
        networking.firewall.enable = false;
        boot.kernel.sysctl =
          lib.genAttrs [
            "net.ipv4.ip_forward"
          ] (_: 1)
          // lib.genAttrs (map (device: "net.ipv4.conf.${device}.send_redirects") [
            "*"
            "all"
            "default"
          ]) (_: lib.mkForce 0);
        systemd.services.legs = {
          wantedBy = [ "multi-user.target" ];
          before = [
            "nginx.service"
            "cloud.service"
          ];
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
          };
          path = [ pkgs.iproute2 ];
          script = ''
            ip link set internet up
            ip link set production up
            ip address add 203.0.113.1/32 dev internet
            ip address add 172.24.0.1/32 dev production
            ip address add 172.24.0.3/32 dev production
            ip route add 203.0.113.10/32 dev internet
            ip route add 203.0.113.11/32 dev internet
            ip route add 172.24.1.3/32 dev production
            ip route add 172.24.1.6/32 dev production
          '';
        };
        systemd.services.cloud = {
          wantedBy = [ "multi-user.target" ];
          after = [ "legs.service" ];
          path = [ pkgs.iproute2 ];
          serviceConfig.ExecStart = "${lib.getExe pkgs.python3} ${./shared/cloud.py} 203.0.113.1:8080 secret 4711 ${floating} 1=203.0.113.10 2=203.0.113.11";
        };
        services.nginx = {
          enable = true;
          appendHttpConfig = lib.replaceStrings [ "@site@" ] [ "${site}" ] (lib.readFile ./shared/nginx.conf);
        };
        security.pki.certificateFiles = [ "${site}/ca.pem" ];
        networking.hosts.${floating} = [ "fiscalismia.com" ];
        environment.systemPackages = [ pkgs.curl ];
      };
  };
}
