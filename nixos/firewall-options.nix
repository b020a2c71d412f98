# services.fiscalismia-lb.firewall: what may pass beside what the load balancer itself needs.
{ lib, ... }:

let
  inherit (lib) mkOption types;
  addresses = import ./addresses.nix { inherit lib; };
  inherit (addresses.types) interfaces network port;

  passage = types.submodule {
    options = {
      networks = mkOption {
        type = types.nonEmptyListOf network;
        example = [ "185.12.64.1" ];
        description = ''
          Addresses on the other side. `0.0.0.0/0` and `::/0` stand for the internet: without the private networks here, and
          without RFC 1918's, 100.64.0.0/10, link-local and unique local addresses, where a cloud's metadata is. Of a network
          around one of those, the rest is meant. Whichever is wanted has to be named itself.
        '';
      };
      protocol = mkOption {
        type = types.enum [
          "tcp"
          "udp"
          "icmp"
        ];
        default = "tcp";
        example = "udp";
        description = "Protocol. `icmp` is ping, and takes no ports.";
      };
      ports = mkOption {
        type = types.listOf port;
        default = [ ];
        example = [ 53 ];
        description = "Ports that the connection is made to.";
      };
    };
  };

  passages =
    example: description:
    mkOption {
      type = types.listOf passage;
      default = [ ];
      example = [ example ];
      inherit description;
    };
in
{
  options.services.fiscalismia-lb.firewall = {
    enable = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether to close the host but for what the options here need, with nftables. **This closes ssh too**, but for
        {option}`services.fiscalismia-lb.firewall.sshFrom` and
        {option}`services.fiscalismia-lb.firewall.publicIngress`. It is the whole host's firewall, both ways, and no other
        module's `openFirewall` widens it; a warning names what that leaves without effect. Off, nothing is opened or closed:
        the ports of `settings.listen` have to be opened in {option}`networking.firewall`, and the kernel tracks every
        connection.
      '';
    };
    sshFrom = mkOption {
      type = types.listOf network;
      default = [ ];
      example = [ "172.24.1.2" ];
      description = ''
        Who may use ssh, on the private interfaces; for the public one take
        {option}`services.fiscalismia-lb.firewall.publicIngress`. Both empty, nobody may: the host's console is then the only
        way in.
      '';
    };
    allowedIngress =
      passages
        {
          networks = [ "172.24.0.2" ];
          ports = [ 9100 ];
        }
        ''
          What else may come in on the private interfaces, such as scrapes of a node exporter. An address that is in the networks
          of one private interface is not let in by another.
        '';
    allowedEgress =
      passages
        {
          networks = [ "185.12.64.1" ];
          protocol = "udp";
          ports = [ 53 ];
        }
        ''
          What the host may send out on the private interfaces beside connections to the routes' servers: DNS, NTP, updates
          through the NAT gateway. Without DNS and updates named here, the host cannot fetch anything itself and has to be
          deployed to from elsewhere.
        '';
    publicIngress =
      passages
        {
          networks = [ "198.51.100.0/24" ];
          ports = [ 22 ];
        }
        ''
          What else may come in on the public interface beside TLS, the redirect and ping: ssh from an office, a tunnel's UDP
          (51820 for WireGuard, 41641 for Tailscale).
        '';
    publicEgress =
      passages
        {
          networks = [ "0.0.0.0/0" ];
          protocol = "udp";
          ports = [ 123 ];
        }
        ''
          What the host may itself send out on the public interface, where there is no NAT gateway for it: DNS, NTP, updates, a
          tunnel's UDP. Replies to clients need no entry.
        '';
    forward = mkOption {
      type = types.listOf (
        types.submodule {
          options = {
            from = mkOption {
              type = interfaces;
              example = "podman0";
              description = "Interface that the connection comes from; `veth*` is each whose name begins so.";
            };
            to = mkOption {
              type = interfaces;
              example = "enp8s0";
              description = "Interface that it leaves by.";
            };
            networks = mkOption {
              type = types.listOf network;
              default = [ ];
              example = [ "172.24.0.0/23" ];
              description = "Addresses that it goes to; any while this is empty.";
            };
          };
        }
      );
      default = [ ];
      example = [
        {
          from = "podman0";
          to = "enp8s0";
        }
      ];
      description = ''
        Connections through this host, with their replies: those of containers and virtual machines on it, or of a tunnel's
        network. The host forwards nothing else. An interface named here that is neither the public nor a private one, such as a
        container engine's bridge, may exchange anything with the host itself; {option}`networking.firewall` still judges what
        comes in by it. With any entry here, connections to servers are tracked by the kernel.
      '';
    };
    rules =
      lib.genAttrs
        [
          "input"
          "output"
        ]
        (
          _:
          mkOption {
            type = types.lines;
            default = "";
            internal = true;
            description = "Lines of other parts of this module.";
          }
        );
  };
}
