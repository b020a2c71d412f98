{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;
  addresses = import ./addresses.nix { inherit lib; };
  inherit (addresses.types)
    address
    endpoint
    interface
    ipv4Address
    network
    port
    ;
  cfg = config.services.fiscalismia-lb;

  secretFile = types.pathWith {
    absolute = true;
    inStore = false;
  };

  privateInterface = types.submodule (
    { name, config, ... }:
    {
      options = {
        networks = mkOption {
          type = types.nonEmptyListOf network;
          example = [ "172.24.0.0/23" ];
          description = ''
            Networks behind this interface. The service can reach addresses in them and no others. A change restarts the service.
          '';
        };
        address = mkOption {
          type = types.nullOr address;
          default = null;
          example = "172.24.1.3";
          description = ''
            This host's address in the network. Set it, and the module configures the interface as Hetzner's private networks
            want it: the address on its own (/32) and everything else through {option}`gateway`. Left at null, the interface is
            yours to configure.
          '';
        };
        gateway = mkOption {
          type = types.nullOr address;
          default = null;
          example = "172.24.0.1";
          description = ''
            The network's virtual gateway, through which every packet to {option}`networks` goes. Needed with {option}`address`.
          '';
        };
        mtu = mkOption {
          type = types.nullOr (types.ints.between 576 65535);
          default = if config.address != null && name != cfg.publicInterface then 1450 else null;
          defaultText = lib.literalMD "1450 where {option}`address` is set, else `null`";
          example = 1500;
          description = ''
            Largest packet in bytes. Hetzner's private networks carry 1450 and lose what is larger in silence. With null the
            interface's own holds.
          '';
        };
      };
    }
  );
in
{
  options.services.fiscalismia-lb = {
    enable = lib.mkEnableOption "fiscalismia-lb, a TLS load balancer that routes by SNI without opening the TLS";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "fiscalismia-lb.packages.\${system}.default";
      example = lib.literalExpression "pkgs.fiscalismia-lb";
      description = ''
        The package to run. An upgrade restarts the service: its sockets stay open meanwhile, so that nobody is refused, and open
        connections go on in the new process.
      '';
    };

    publicInterface = mkOption {
      type = interface;
      example = "enp1s0";
      description = ''
        Interface that clients come in by. The ports for TLS and the redirect are open here and on no other interface, and with
        {option}`services.fiscalismia-lb.firewall.enable` nothing else is reachable here, ssh neither.
      '';
    };

    publicAddresses = mkOption {
      type = types.listOf address;
      default = [ ];
      example = [
        "203.0.113.10"
        "2001:db8:1::10"
      ];
      description = ''
        This host's public addresses. Set them, and the module configures the public interface: each address on its own (/32 or
        /128), the default route through {option}`services.fiscalismia-lb.publicGateways` on link, as at Hetzner. Left empty,
        the interface is yours to configure.
      '';
    };

    publicGateways = mkOption {
      type = types.listOf address;
      default = [
        "172.31.1.1"
        "fe80::1"
      ];
      example = [ "203.0.113.1" ];
      description = ''
        Gateways of {option}`services.fiscalismia-lb.publicAddresses`, at most one a family; Hetzner's unless set.
      '';
    };

    privateInterfaces = mkOption {
      type = types.attrsOf privateInterface;
      default = { };
      example = {
        enp7s0.networks = [ "172.24.0.0/23" ];
      };
      description = ''
        Interfaces that the servers are behind, by name: a private network, a tunnel such as `wg0` or `tailscale0`, or the public
        interface once more, where a host has but that one or a server is on the internet. The service can reach their networks
        and no others, and servers on this host itself.
      '';
    };

    natGateway = mkOption {
      type = types.nullOr (
        types.submodule {
          options = {
            interface = mkOption {
              type = interface;
              example = "enp8s0";
              description = "The one of {option}`services.fiscalismia-lb.privateInterfaces` that leads to the NAT gateway.";
            };
            address = mkOption {
              type = ipv4Address;
              example = "172.24.0.1";
              description = "Virtual gateway of that private network, which hands on to the NAT gateway.";
            };
          };
        }
      );
      default = null;
      example = {
        interface = "enp8s0";
        address = "172.24.0.1";
      };
      description = ''
        Send what the host itself starts (updates, DNS, time) to the internet through a NAT gateway in a private network, so that
        nothing has to leave by the public interface but replies to clients. The IPv4 default route goes there. The public
        address and that of {option}`interface` have to be configured by this module. The firewall lets out what
        {option}`services.fiscalismia-lb.firewall.allowedEgress` names.
      '';
    };

    routes = mkOption {
      type = types.attrsOf (import ./routes.nix { inherit lib addresses; });
      default = { };
      example = {
        frontend = {
          sni = [ "fiscalismia.com" ];
          servers = [ "172.24.0.3:443" ];
        };
      };
      description = ''
        Which names go to which servers. A change is a reload: open connections go on, new ones follow the new routes.
      '';
    };

    redirect.enable = lib.mkEnableOption ''
      answering plain HTTP on port 80 of the public interface with a redirect to https. Without it the port is closed, and who
      types the name without https:// gets no answer'';

    admin = {
      address = mkOption {
        type = types.nullOr endpoint;
        default = null;
        example = "172.24.1.3:8404";
        description = ''
          Where /health, /ready, /metrics and /stats are answered: an address of this host in a private network, or on loopback.
          With null there are none, and the journal is all there is to see.
        '';
      };
      allowFrom = mkOption {
        type = types.listOf network;
        default = [ ];
        example = [ "172.24.0.2" ];
        description = "Who may connect there, Prometheus for one. Others get no answer.";
      };
    };

    statsCredentials =
      lib.genAttrs
        [
          "usernameFile"
          "passwordFile"
        ]
        (
          name:
          mkOption {
            type = types.nullOr secretFile;
            default = null;
            example = "/run/secrets/stats-${lib.toLower (lib.removeSuffix "File" name)}";
            description = ''
              File with the ${lib.removeSuffix "File" name} that /stats asks for, read by systemd as root, and so not in the Nix
              store. Both files or neither; without them, or while one is missing, /stats answers nobody (403).
            '';
          }
        );

    control.enable = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether `fiscalismia-lb server`, `drain`, `connections` and the like work on this host, by
        /run/fiscalismia-lb/control.sock, for root and the group `fiscalismia-lb`.
      '';
    };

    settings = mkOption {
      type = types.submodule {
        freeformType = (pkgs.formats.json { }).type;
        options.listen = mkOption {
          type = types.listOf endpoint;
          default = [ "0.0.0.0:443" ] ++ lib.optional config.networking.enableIPv6 "[::]:443";
          defaultText = lib.literalExpression ''[ "0.0.0.0:443" ] ++ lib.optional config.networking.enableIPv6 "[::]:443"'';
          example = [ "0.0.0.0:8443" ];
          description = ''
            Addresses for TLS, open on the public interface only. They may be none where every route has its own `listen`.
          '';
        };
      };
      default = { };
      example = {
        limits.per_source = {
          rate = 50;
          period = "5s";
        };
        timeouts.tunnel = "10m";
        log.format = "json";
      };
      description = ''
        The rest of the configuration file, under the names of the file: `timeouts`, `retries`, `health_check`, `limits`, `reject`,
        `log`, `zero_copy`. `fiscalismia-lb check` reads the file at build time, so that a wrong one is never switched to.
      '';
    };

    listeners = mkOption {
      type = types.attrsOf (types.listOf endpoint);
      internal = true;
      readOnly = true;
      description = "Addresses of routes that have their own, each under the first route that names it.";
    };

    configuration = mkOption {
      type = types.attrsOf types.anything;
      internal = true;
      readOnly = true;
      description = "What becomes /etc/fiscalismia-lb/config.json.";
    };
  };
}
