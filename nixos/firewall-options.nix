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
          Addresses and networks at the other end of the connection. `0.0.0.0/0` and `::/0` stand for the internet: they leave out
          the networks of {option}`services.fiscalismia-lb.privateInterfaces`, and the private and link-local addresses (RFC 1918,
          100.64.0.0/10, 169.254.0.0/16, unique local), where a cloud's metadata is. Every network that contains one of these
          leaves it out. To allow one, name it.
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
        description = "Protocol of the connection. `icmp` is ping, and has no ports.";
      };
      ports = mkOption {
        type = types.listOf port;
        default = [ ];
        example = [ 53 ];
        description = "Ports at which the connection arrives.";
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
        Whether nftables drops every packet of this host, in and out, that the load balancer and the options of
        {option}`services.fiscalismia-lb` do not need. **This closes ssh too**, except for
        {option}`services.fiscalismia-lb.firewall.sshFrom` and {option}`services.fiscalismia-lb.firewall.publicIngress`. The
        `openFirewall` of another module does not open it, and a warning names each option that has no effect. Without it the
        operator opens the ports of {option}`services.fiscalismia-lb.settings.listen` in {option}`networking.firewall`, and the
        kernel tracks every connection.
      '';
    };
    sshFrom = mkOption {
      type = types.listOf network;
      default = [ ];
      example = [ "172.24.1.2" ];
      description = ''
        Addresses and networks from which ssh is reachable on the private interfaces. For the public interface, use
        {option}`services.fiscalismia-lb.firewall.publicIngress`. Where both are empty, the host's console is the only way to log
        in.
      '';
    };
    allowedIngress =
      passages
        {
          networks = [ "172.24.0.2" ];
          ports = [ 9100 ];
        }
        ''
          Further connections to this host on its private interfaces, such as those of a Prometheus to a node exporter. An address
          in a network of one private interface cannot connect through another.
        '';
    allowedEgress =
      passages
        {
          networks = [ "185.12.64.1" ];
          protocol = "udp";
          ports = [ 53 ];
        }
        ''
          Further connections from this host on its private interfaces, beside those to the routes' servers: DNS, NTP, updates
          through the NAT gateway. A host without DNS and updates here cannot fetch packages, and is deployed from another host.
        '';
    publicIngress =
      passages
        {
          networks = [ "198.51.100.0/24" ];
          ports = [ 22 ];
        }
        ''
          Further connections to this host on its public interface, beside TLS, the redirect and ping: ssh from an office, a
          tunnel's UDP (port 51820 for WireGuard, 41641 for Tailscale).
        '';
    publicEgress =
      passages
        {
          networks = [ "0.0.0.0/0" ];
          protocol = "udp";
          ports = [ 123 ];
        }
        ''
          Connections from this host on its public interface, where no NAT gateway carries them: DNS, NTP, updates, a tunnel's
          UDP. Replies to clients need no entry.
        '';
    forward = mkOption {
      type = types.listOf (
        types.submodule {
          options = {
            from = mkOption {
              type = interfaces;
              example = "podman0";
              description = "Interface on which the connection arrives. `veth*` stands for every interface whose name begins with veth.";
            };
            to = mkOption {
              type = interfaces;
              example = "enp8s0";
              description = "Interface on which the connection leaves. `veth*` stands for every interface whose name begins with veth.";
            };
            networks = mkOption {
              type = types.listOf network;
              default = [ ];
              example = [ "172.24.0.0/23" ];
              description = "Addresses and networks to which the connection may go. An empty list allows every address.";
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
        Connections that this host forwards, with their replies: those of containers and virtual machines on it, or of a tunnel's
        network. The host forwards no others. An interface in an entry that is neither the public nor a private one, such as a
        container engine's bridge, may exchange every packet with the host itself, and {option}`networking.firewall` decides
        what comes in on it. With an entry, the kernel tracks the connections to servers.
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
