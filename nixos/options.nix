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
            Networks behind this private interface. The service can connect to addresses in the networks of its private interfaces,
            and to no others. A change restarts the service.
          '';
        };
        address = mkOption {
          type = types.nullOr address;
          default = null;
          example = "172.24.1.3";
          description = ''
            This host's address in the private network. Where it is set, the module configures the interface as Hetzner's private
            networks need it: the address on its own (/32), and {option}`networks` through {option}`gateway`. With null, the
            operator configures the interface.
          '';
        };
        gateway = mkOption {
          type = types.nullOr address;
          default = null;
          example = "172.24.0.1";
          description = ''
            The private network's virtual gateway. Every packet to {option}`networks` goes through it. Set it together with
            {option}`address`.
          '';
        };
        mtu = mkOption {
          type = types.nullOr (types.ints.between 576 65535);
          default = if config.address != null && name != cfg.publicInterface then 1450 else null;
          defaultText = lib.literalMD "1450 where {option}`address` is set, else `null`";
          example = 1500;
          description = ''
            Largest packet on this interface, in bytes. Hetzner's private networks carry 1450 and drop larger packets without an
            error. With null, the module leaves the interface's own value.
          '';
        };
      };
    }
  );
in
{
  options.services.fiscalismia-lb = {
    enable = lib.mkEnableOption "fiscalismia-lb, a load balancer that routes TLS by SNI without decrypting it";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "fiscalismia-lb.packages.\${system}.default";
      example = lib.literalExpression "pkgs.fiscalismia-lb";
      description = ''
        The package to run. An upgrade restarts the service. Its sockets stay open meanwhile, so that no client is refused, and
        open connections continue in the new process.
      '';
    };

    publicInterface = mkOption {
      type = interface;
      example = "enp1s0";
      description = ''
        Network interface on which clients connect. The ports for TLS and the redirect are open on this interface and on no other.
        With {option}`services.fiscalismia-lb.firewall.enable` no other port is reachable on it, not even that of ssh.
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
        This host's public addresses. Where they are set, the module configures the public interface as Hetzner's network needs
        it: each address on its own (/32 or /128), and the default route through
        {option}`services.fiscalismia-lb.publicGateways` on link. With an empty list, the operator configures the interface.
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
        Gateways for {option}`services.fiscalismia-lb.publicAddresses`, one for each family that has an address there. The
        default is Hetzner's.
      '';
    };

    privateInterfaces = mkOption {
      type = types.attrsOf privateInterface;
      default = { };
      example = {
        enp7s0.networks = [ "172.24.0.0/23" ];
      };
      description = ''
        Interfaces that lead to the servers, by name: that of a private network, a tunnel such as `wg0` or `tailscale0`, or the
        public interface once more, where the host has no other or a server is on the internet. The service can connect to the
        networks behind these interfaces, to servers on this host itself, and to nothing else.
      '';
    };

    natGateway = mkOption {
      type = types.nullOr (
        types.submodule {
          options = {
            interface = mkOption {
              type = interface;
              example = "enp8s0";
              description = "Private interface that leads to the NAT gateway, one of {option}`services.fiscalismia-lb.privateInterfaces`.";
            };
            address = mkOption {
              type = ipv4Address;
              example = "172.24.0.1";
              description = "Virtual gateway of the private network with the NAT gateway. It passes packets on to the NAT gateway.";
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
        Send connections that the host itself starts (updates, DNS, time) to the internet through a NAT gateway in a private
        network. Then only replies to clients leave by the public interface, and the IPv4 default route leads to the NAT gateway.
        This module has to configure the public address and that of {option}`interface`. The firewall allows the connections that
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
        Routes, by name: each says which host names go to which servers. A change reloads the service: open connections
        continue, and new ones follow the new routes.
      '';
    };

    redirect.enable = lib.mkEnableOption ''
      answering plain HTTP on port 80 of the public interface with a redirect to https. Without this redirect the
      port is closed, and a browser that tries http:// first gets no answer'';

    admin = {
      address = mkOption {
        type = types.nullOr endpoint;
        default = null;
        example = "172.24.1.3:8404";
        description = ''
          Address and port on which the load balancer answers /health, /ready, /metrics and /stats: an address of this host in a
          private network, or on loopback. With null there are no such pages.
        '';
      };
      allowFrom = mkOption {
        type = types.listOf network;
        default = [ ];
        example = [ "172.24.0.2" ];
        description = ''
          Addresses and networks of the clients that may connect to {option}`services.fiscalismia-lb.admin.address`, such as that
          of a Prometheus. Other clients get no answer.
        '';
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
              File with the ${lib.removeSuffix "File" name} that /stats asks for. systemd reads it as root, so no other user needs access
              to it. A path in the Nix store, which every user can read, is an error. Set both files of
              {option}`services.fiscalismia-lb.statsCredentials` or neither. Without them, or while one does not exist, /stats answers
              403 to every client.
            '';
          }
        );

    control.enable = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether the commands for a running load balancer, such as `fiscalismia-lb server`, `drain` and `connections`, work on
        this host. They connect to /run/fiscalismia-lb/control.sock, which root and the group `fiscalismia-lb` may use.
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
            Addresses and ports on which clients connect with TLS, open on the public interface only. The list may be empty where
            every route has a {option}`listen` of its own.
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
        Further keys of the configuration file, under their own names: `timeouts`, `retries`, `health_check`, `limits`, `reject`,
        `accept_proxy`, `log`, `zero_copy`. The build runs `fiscalismia-lb check` on the file, so that a file with a mistake fails the build.
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
