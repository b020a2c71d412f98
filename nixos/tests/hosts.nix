# Hosts that people have: each with the rules that come of it, or with the sentence that names what is lost.
{ lib, evaluate }:

let
  inherit (import ./six-lines.nix { inherit lib; }) sixLines refused;
  host =
    options: rest:
    evaluate (
      lib.recursiveUpdate sixLines (
        rest
        // {
          services = rest.services or { } // {
            fiscalismia-lb = options;
          };
        }
      )
    );
  plain = evaluate sixLines;

  linesOf =
    config:
    map lib.trim (lib.splitString "\n" config.networking.nftables.tables.fiscalismia-lb.content);
  # What the ruleset has that the plain host's has not.
  more = config: lib.subtractLists (linesOf plain) (linesOf config);
  opens = options: expected: {
    expr =
      let
        config = host options { };
      in
      {
        rules = more config;
        complaints = refused config ++ config.warnings;
      };
    expected = {
      rules = expected;
      complaints = [ ];
    };
  };
  warns = rest: options: text: {
    expr = (host options rest).warnings;
    expected = [ "services.fiscalismia-lb.firewall: ${text}" ];
  };
  quiet = rest: options: {
    expr = (host options rest).warnings;
    expected = [ ];
  };
  udp = networks: port: [
    {
      inherit networks;
      protocol = "udp";
      ports = [ port ];
    }
  ];
  everywhere = udp [
    "0.0.0.0/0"
    "::/0"
  ];
  special4 = "ip daddr != { 10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16 }";
  special6 = "ip6 daddr != { fc00::/7, fe80::/10 }";
in
{
  testPlain = {
    expr = refused plain ++ plain.warnings;
    expected = [ ];
  };

  # One interface, public and private.
  testOneInterface = {
    expr =
      let
        config = evaluate {
          services.fiscalismia-lb = {
            enable = true;
            publicInterface = "eth0";
            privateInterfaces.eth0.networks = [ "10.0.0.0/24" ];
            routes.web.sni = [ "example.com" ];
            routes.web.servers = [ "10.0.0.2:443" ];
            firewall.sshFrom = [ "10.0.0.9" ];
          };
          services.openssh.enable = true;
        };
      in
      {
        complaints = refused config ++ config.warnings;
        rules = lib.filter (line: lib.hasInfix "eth0" line || lib.hasInfix "10.0.0." line) (linesOf config);
        nixos = lib.naturalSort (map toString config.networking.firewall.interfaces.eth0.allowedTCPPorts);
      };
    expected = {
      complaints = [ ];
      rules = [
        ''elements = { "eth0" . 10.0.0.2 . 443 }''
        ''iifname "eth0" tcp dport { 443 } notrack''
        ''iifname { "eth0" } ct state invalid icmp type { destination-unreachable, time-exceeded, parameter-problem } notrack''
        ''iifname { "eth0" } ct state invalid icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } notrack''
        ''oifname "eth0" tcp sport { 443 } notrack''
        ''iifname { "eth0" } ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept''
        ''iifname "eth0" jump public-in''
        ''iifname { "eth0" } jump private-in''
        ''iifname != "eth0" ip saddr { 10.0.0.0/24 } drop''
        "ip saddr { 10.0.0.9 } tcp dport { 22 } accept"
        ''oifname { "eth0" } udp sport 68 udp dport 67 accept''
        ''oifname { "eth0" } udp sport 546 udp dport 547 accept''
        ''oifname "eth0" jump public-out''
        ''oifname { "eth0" } jump private-out''
      ];
      nixos = [
        "22"
        "443"
      ];
    };
  };
  # Its addresses go into one file for systemd-networkd, which takes the first that fits.
  testOneInterfaceAddressed = {
    expr =
      let
        config = host {
          publicAddresses = [ "203.0.113.10" ];
          privateInterfaces.enp1s0 = {
            networks = [ "10.0.0.0/24" ];
            address = "10.0.0.5";
            gateway = "10.0.0.1";
          };
        } { };
      in
      {
        files = lib.attrNames config.systemd.network.networks;
        address = lib.naturalSort config.systemd.network.networks."20-fiscalismia-lb-public".address;
        complaints = refused config;
      };
    expected = {
      files = [ "20-fiscalismia-lb-public" ];
      address = [
        "10.0.0.5/32"
        "203.0.113.10/32"
      ];
      complaints = [ ];
    };
  };

  testServerOnTheInternet =
    opens
      {
        privateInterfaces.enp1s0.networks = [ "198.51.100.20" ];
        routes.frontend.servers = [ "198.51.100.20:443" ];
      }
      [
        ''elements = { "enp1s0" . 198.51.100.20 . 443 }''
        ''iifname { "enp1s0", "enp7s0" } jump private-in''
        ''iifname != "enp1s0" ip saddr { 198.51.100.20 } drop''
        ''oifname { "enp1s0", "enp7s0" } jump private-out''
      ];
  # The default route would lead to the NAT gateway.
  testServerOnTheInternetBesideANatGateway = {
    expr =
      lib.filter (route: route.Destination or null == "198.51.100.20")
        (host {
          publicAddresses = [ "203.0.113.10" ];
          privateInterfaces = {
            enp1s0.networks = [ "198.51.100.20" ];
            enp7s0 = {
              networks = [ "172.24.0.0/23" ];
              address = "172.24.1.3";
              gateway = "172.24.0.1";
            };
          };
          natGateway = {
            interface = "enp7s0";
            address = "172.24.0.1";
          };
        } { }).systemd.network.networks."20-fiscalismia-lb-public".routes;
    expected = [
      {
        Destination = "198.51.100.20";
        Gateway = "172.31.1.1";
        GatewayOnLink = true;
      }
    ];
  };
  testServersOnThisHost = {
    expr =
      let
        config = host { routes.frontend.servers = [ "127.0.0.1:8443" ]; } { };
      in
      {
        rules = more config;
        complaints = refused config ++ config.warnings;
        may = config.systemd.services.fiscalismia-lb.serviceConfig.IPAddressAllow;
      };
    expected = {
      rules = [ ];
      complaints = [ ];
      may = [
        "172.24.0.0/23"
        "localhost"
      ];
    };
  };
  testEverythingOnOneHost = {
    expr =
      let
        config = evaluate {
          services.fiscalismia-lb = {
            enable = true;
            publicInterface = "eth0";
            routes.web.sni = [ "example.com" ];
            routes.web.servers = [ "127.0.0.1:8443" ];
          };
        };
      in
      {
        complaints = refused config ++ config.warnings;
        jumps = lib.filter (lib.hasInfix "jump") (linesOf config);
        may = config.systemd.services.fiscalismia-lb.serviceConfig.IPAddressAllow;
      };
    expected = {
      complaints = [ ];
      jumps = [
        ''iifname "eth0" jump public-in''
        ''oifname "eth0" jump public-out''
      ];
      may = [ "localhost" ];
    };
  };
  testTemplate = {
    expr =
      let
        config = evaluate {
          imports = [ ../template/loadbalancer.nix ];
          services.timesyncd.enable = true;
        };
      in
      refused config ++ config.warnings;
    expected = [ ];
  };
  testLoopbackNamedAsPrivate =
    opens
      {
        privateInterfaces.lo.networks = [ "127.0.0.0/8" ];
        routes.frontend.servers = [ "127.0.0.1:8443" ];
      }
      [
        ''elements = { "lo" . 127.0.0.1 . 8443 }''
        ''iifname { "enp1s0", "enp7s0", "lo" } ct state invalid icmp type { destination-unreachable, time-exceeded, parameter-problem } notrack''
        ''iifname { "enp1s0", "enp7s0", "lo" } ct state invalid icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } notrack''
        ''iifname { "enp7s0", "lo" } jump private-in''
        ''iifname != "lo" ip saddr { 127.0.0.0/8 } drop''
        ''oifname { "enp7s0", "lo" } jump private-out''
      ];

  # Two routes at one address share its socket.
  testRoutesWithAddressesOfTheirOwn = {
    expr =
      let
        config = host {
          redirect.enable = true;
          routes = {
            frontend.http = {
              port = 8080;
              paths = [ "/.well-known/acme-challenge/" ];
            };
            imap = {
              sni = [ "mail.example.com" ];
              listen = [
                "0.0.0.0:993"
                "[::]:993"
              ];
              servers = [ "172.24.0.9:993" ];
            };
            imap2 = {
              sni = [ "mail.example.org" ];
              listen = [
                "0.0.0.0:993"
                "[::]:993"
              ];
              servers = [ "172.24.0.10:993" ];
            };
            postgres = {
              listen = [ "0.0.0.0:5432" ];
              servers = [ "172.24.0.5:5432" ];
            };
          };
        } { };
      in
      {
        complaints = refused config ++ config.warnings;
        rules = lib.filter (line: lib.hasInfix "tcp dport {" line || lib.hasInfix "elements" line) (
          linesOf config
        );
        nixos = config.networking.firewall.interfaces.enp1s0.allowedTCPPorts;
        sockets = lib.mapAttrs (_: socket: {
          inherit (socket) listenStreams partOf;
          inherit (socket.socketConfig) FileDescriptorName BindToDevice;
        }) (lib.filterAttrs (name: _: lib.hasInfix "-route-" name) config.systemd.sockets);
      };
    expected = {
      complaints = [ ];
      rules = [
        ''elements = { "enp7s0" . 172.24.0.3 . 443, "enp7s0" . 172.24.0.3 . 8080, "enp7s0" . 172.24.0.9 . 993, "enp7s0" . 172.24.0.10 . 993, "enp7s0" . 172.24.0.5 . 5432 }''
        ''iifname "enp1s0" tcp dport { 443, 993, 5432, 80 } notrack''
        "tcp dport { 443, 993, 5432, 80 } accept"
      ];
      nixos = [
        443
        993
        5432
        80
      ];
      sockets =
        let
          socket = name: listenStreams: {
            inherit listenStreams;
            partOf = [ "fiscalismia-lb-other-sockets.service" ];
            FileDescriptorName = name;
            BindToDevice = "enp1s0";
          };
        in
        {
          fiscalismia-lb-route-imap = socket "imap" [
            "0.0.0.0:993"
            "[::]:993"
          ];
          fiscalismia-lb-route-postgres = socket "postgres" [ "0.0.0.0:5432" ];
        };
    };
  };
  testNoTlsOfItsOwn = {
    expr =
      let
        config = host {
          settings.listen = [ ];
          routes.frontend.listen = [ "0.0.0.0:8443" ];
        } { };
      in
      {
        complaints = refused config;
        requires = config.systemd.services.fiscalismia-lb.requires;
        hasListen = config.services.fiscalismia-lb.configuration ? listen;
      };
    expected = {
      complaints = [ ];
      requires = [ ];
      hasListen = false;
    };
  };
  testWireguardLeg =
    opens
      {
        privateInterfaces.wg0.networks = [ "10.9.0.0/24" ];
        routes.frontend.servers = [ "10.9.0.2:443" ];
        firewall.publicIngress = everywhere 51820;
        firewall.publicEgress = everywhere 51820;
      }
      [
        ''elements = { "wg0" . 10.9.0.2 . 443 }''
        ''iifname { "enp1s0", "enp7s0", "wg0" } ct state invalid icmp type { destination-unreachable, time-exceeded, parameter-problem } notrack''
        ''iifname { "enp1s0", "enp7s0", "wg0" } ct state invalid icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } notrack''
        ''iifname { "enp1s0", "enp7s0", "wg0" } ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept''
        ''iifname { "enp7s0", "wg0" } jump private-in''
        "ip saddr { 0.0.0.0/0 } ${
          lib.replaceStrings [ "daddr" ] [ "saddr" ] special4
        } udp dport { 51820 } accept"
        "ip6 saddr { ::/0 } ${
          lib.replaceStrings [ "daddr" ] [ "saddr" ] special6
        } udp dport { 51820 } accept"
        ''iifname != "wg0" ip saddr { 10.9.0.0/24 } drop''
        ''oifname { "enp1s0", "enp7s0", "wg0" } udp sport 68 udp dport 67 accept''
        ''oifname { "enp1s0", "enp7s0", "wg0" } udp sport 546 udp dport 547 accept''
        ''oifname { "enp7s0", "wg0" } jump private-out''
        "ip daddr { 0.0.0.0/0 } ${special4} udp dport { 51820 } accept"
        "ip6 daddr { ::/0 } ${special6} udp dport { 51820 } accept"
      ];
  testWireguardForgotten =
    warns { networking.wireguard.interfaces.wg0 = { }; }
      {
        firewall.publicEgress = everywhere 53;
      }
      "the packets of WireGuard's wg0 itself are dropped both ways. Allow its udp port in services.fiscalismia-lb.firewall.publicIngress and .publicEgress.";
  testWireguardOfNetworkdForgotten =
    warns
      {
        systemd.network.netdevs.wg1.netdevConfig.Kind = "wireguard";
      }
      { }
      "the packets of WireGuard's wg1 itself are dropped both ways. Allow its udp port in services.fiscalismia-lb.firewall.publicIngress and .publicEgress.";
  testTailscaleForgotten =
    warns
      {
        services.tailscale.enable = true;
      }
      { }
      "the packets of services.tailscale itself are dropped both ways. Allow its udp port in services.fiscalismia-lb.firewall.publicIngress and .publicEgress.";
  testTailscaleLetThrough = quiet { services.tailscale.enable = true; } {
    firewall.publicIngress = everywhere 41641;
  };

  testContainers =
    opens
      {
        firewall.forward = [
          {
            from = "podman0";
            to = "enp7s0";
            networks = [
              "172.24.0.0/23"
              "fd00::/64"
            ];
          }
          {
            from = "enp1s0";
            to = "veth*";
          }
        ];
      }
      [
        ''iifname "podman0" accept''
        ''iifname "veth*" accept''
        ''oifname "podman0" accept''
        ''oifname "veth*" accept''
        ''iifname "podman0" oifname "enp7s0" ip daddr { 172.24.0.0/23 } accept''
        ''iifname "podman0" oifname "enp7s0" ip6 daddr { fd00::/64 } accept''
        ''iifname "enp1s0" oifname "veth*" accept''
      ];
  # A container's own connection to a server leaves with this host's address, and tracking alone finds the way back.
  testServersAreTrackedForContainers = {
    expr = lib.filter (line: lib.hasInfix "@servers4" line) (
      linesOf (
        host {
          firewall.forward = [
            {
              from = "podman0";
              to = "enp7s0";
            }
          ];
        } { }
      )
    );
    expected = [ "oifname . ip daddr . tcp dport @servers4 accept" ];
  };
  testDockerForgotten =
    warns
      {
        virtualisation.docker.enable = true;
      }
      { }
      "no connection of the containers or machines of virtualisation.docker is forwarded. Add their interfaces to services.fiscalismia-lb.firewall.forward.";
  testEnginesForgotten =
    warns
      {
        virtualisation.podman.enable = true;
        virtualisation.libvirtd.enable = true;
        services.k3s.enable = true;
      }
      { }
      "no connection of the containers or machines of virtualisation.podman, virtualisation.libvirtd, services.k3s is forwarded. Add their interfaces to services.fiscalismia-lb.firewall.forward.";

  testSshFromAnOffice = opens {
    firewall.publicIngress = [
      {
        networks = [ "198.51.100.0/24" ];
        ports = [ 22 ];
      }
    ];
  } [ "ip saddr { 198.51.100.0/24 } tcp dport { 22 } accept" ];
  testSshFromAnOfficeByNixos = {
    expr =
      (host {
        firewall.publicIngress = [
          {
            networks = [ "198.51.100.0/24" ];
            ports = [ 22 ];
          }
        ];
      } { services.openssh.enable = true; }).networking.firewall.interfaces.enp1s0.allowedTCPPorts;
    expected = [
      443
      22
    ];
  };
  testSshForgotten =
    warns
      {
        services.openssh.enable = true;
        networking.firewall.allowedTCPPorts = [ 22 ];
      }
      { }
      "ssh is closed to every address, and the host's console is the only way to log in. Add the addresses of operators to services.fiscalismia-lb.firewall.sshFrom (private interfaces) or services.fiscalismia-lb.firewall.publicIngress (port 22).";
  testSshForABastion = quiet {
    services.openssh.enable = true;
    networking.firewall.allowedTCPPorts = [ 22 ];
  } { firewall.sshFrom = [ "172.24.1.2" ]; };

  testIpv6Disabled = {
    expr =
      (host {
        redirect.enable = true;
        control.enable = false;
      } { networking.enableIPv6 = false; }).services.fiscalismia-lb.configuration;
    expected = {
      listen = [ "0.0.0.0:443" ];
      redirect.listen = [ "0.0.0.0:80" ];
      routes.frontend = {
        sni = [ "fiscalismia.com" ];
        servers = [ "172.24.0.3:443" ];
      };
    };
  };

  testOpenedPorts =
    warns
      {
        networking.firewall.allowedTCPPorts = [
          443
          9100
        ];
      }
      { }
      "networking.firewall opens tcp 9100, which stays closed. Add the addresses of its clients to services.fiscalismia-lb.firewall.allowedIngress (private interfaces) or .publicIngress.";
  testOpenedPortsOfAnInterface =
    warns
      {
        networking.firewall.interfaces.enp7s0.allowedUDPPorts = [ 161 ];
      }
      { }
      "networking.firewall opens udp 161, which stays closed. Add the addresses of its clients to services.fiscalismia-lb.firewall.allowedIngress (private interfaces) or .publicIngress.";
  testOpenedRanges =
    warns
      {
        networking.firewall.allowedUDPPortRanges = [
          {
            from = 60000;
            to = 61000;
          }
        ];
      }
      { }
      "networking.firewall opens udp 60000-61000, which stays closed. Add the addresses of its clients to services.fiscalismia-lb.firewall.allowedIngress (private interfaces) or .publicIngress.";
  testTrustedInterface =
    warns
      {
        networking.firewall.trustedInterfaces = [
          "lo"
          "br0"
        ];
      }
      { }
      "networking.firewall trusts br0, and its packets are dropped all the same. Add its connections to services.fiscalismia-lb.firewall.forward or, for a private interface, .allowedIngress.";
  testOpenedPortsThatAreLetIn = quiet { networking.firewall.allowedTCPPorts = [ 9100 ]; } {
    firewall.allowedIngress = [
      {
        networks = [ "172.24.0.2" ];
        ports = [ 9100 ];
      }
    ];
  };
  testClockForgotten =
    warns
      {
        services.timesyncd.enable = true;
      }
      { }
      "services.timesyncd cannot ask for the time. Allow udp 123 in services.fiscalismia-lb.firewall.publicEgress or, through a NAT gateway, .allowedEgress.";
  testClockLetOut = quiet { services.chrony.enable = true; } {
    firewall.publicEgress = everywhere 123;
  };

  testNginxOnTheSamePort = {
    expr =
      (host { } {
        services.nginx = {
          enable = true;
          defaultHTTPListenPort = 80;
          defaultSSLListenPort = 443;
          virtualHosts.here = {
            listen = [ ];
            onlySSL = false;
            addSSL = false;
            forceSSL = true;
          };
        };
      }).warnings;
    expected = [
      "services.fiscalismia-lb: services.nginx listens on port 443 too, and cannot start. Give its virtual hosts a `listen` with another port, such as 127.0.0.1:8443, and use that as a server's address."
    ];
  };
  testNginxOnAnotherPort =
    quiet
      {
        services.nginx = {
          enable = true;
          virtualHosts.here.listen = [
            {
              addr = "127.0.0.1";
              port = 8443;
            }
          ];
        };
      }
      {
        redirect.enable = true;
        routes.frontend.servers = [ "127.0.0.1:8443" ];
      };

  testNoFirewallNoWarning = quiet {
    services.openssh.enable = true;
    services.timesyncd.enable = true;
    virtualisation.docker.enable = true;
  } { firewall.enable = false; };

  # Metadata of a cloud is at 169.254.169.254: whoever wants it names it.
  testMetadataHasToBeNamed =
    opens
      {
        firewall.publicEgress = [
          {
            networks = [
              "0.0.0.0/0"
              "169.254.169.254"
              "10.0.0.0/8"
            ];
            ports = [ 80 ];
          }
        ];
      }
      [
        "ip daddr { 169.254.169.254, 10.0.0.0/8 } tcp dport { 80 } accept"
        "ip daddr { 0.0.0.0/0 } ${special4} tcp dport { 80 } accept"
      ];

  # VRRP, with the other host and by that interface alone: two that do not hear each other both hold the address.
  testTwoHosts = {
    expr =
      let
        config = evaluate (import ../pair.nix).first;
        inherit (config.services.keepalived.vrrpInstances.fiscalismia-lb)
          interface
          state
          noPreempt
          unicastPeers
          unicastSrcIp
          virtualIps
          ;
      in
      {
        complaints = refused config ++ config.warnings;
        rules = lib.filter (lib.hasInfix "112") (linesOf config);
        nixos = lib.filter (lib.hasInfix "112") (
          lib.splitString "\n" config.networking.firewall.extraInputRules
        );
        asks = config.systemd.sockets.fiscalismia-lb-admin.socketConfig.IPAddressAllow;
        keepalived = {
          inherit
            interface
            state
            noPreempt
            unicastPeers
            unicastSrcIp
            virtualIps
            ;
        };
      };
    expected = {
      complaints = [ ];
      rules = [
        ''iifname "enp8s0" ip saddr { 172.24.1.6 } meta l4proto 112 accept''
        ''oifname "enp8s0" ip daddr { 172.24.1.6 } meta l4proto 112 accept''
      ];
      nixos = [ ''iifname "enp8s0" ip saddr { 172.24.1.6 } meta l4proto 112 accept'' ];
      asks = [
        "172.24.1.3"
        "172.24.0.2"
      ];
      keepalived = {
        interface = "enp8s0";
        state = "BACKUP";
        noPreempt = true;
        unicastPeers = [ "172.24.1.6" ];
        unicastSrcIp = "172.24.1.3";
        virtualIps = [
          {
            addr = "203.0.113.50/32";
            dev = "enp1s0";
          }
        ];
      };
    };
  };
  testTwoHostsAtHetzner = {
    expr =
      let
        first = (import ../pair.nix).first.services.fiscalismia-lb;
        config = evaluate {
          services.fiscalismia-lb = lib.recursiveUpdate first {
            publicAddresses = [
              "203.0.113.10"
              "203.0.113.50"
            ];
            natGateway = {
              interface = "enp8s0";
              address = "172.24.0.1";
            };
            highAvailability.hetzner = {
              floatingIp = 4711;
              server = 42;
              tokenFile = "/run/secrets/hcloud-token";
              egress = [ "213.239.246.0/24" ];
            };
          };
        };
        elsewhere = evaluate {
          services.fiscalismia-lb = lib.recursiveUpdate first {
            publicAddresses = [ "203.0.113.50" ];
            highAvailability.hetzner = {
              floatingIp = 4711;
              server = 42;
              tokenFile = "/run/secrets/hcloud-token";
              api = "http://172.24.0.9:8080/v1";
              egress = [ "172.24.0.9" ];
            };
          };
        };
        service = config.systemd.services.fiscalismia-lb-floating-ip;
        told = lib.filter (lib.hasPrefix "notify_") (
          lib.splitString "\n" config.services.keepalived.vrrpInstances.fiscalismia-lb.extraConfig
        );
      in
      {
        complaints = refused config ++ config.warnings;
        rules = lib.filter (lib.hasInfix "213.239") (linesOf config);
        rulesElsewhere = lib.filter (lib.hasInfix "172.24.0.9") (linesOf elsewhere);
        inherit (config.services.keepalived.vrrpInstances.fiscalismia-lb) virtualIps;
        told = map (line: lib.head (lib.splitString " " line)) told;
        environment = removeAttrs service.environment [ "PATH" ];
        inherit (service.serviceConfig) IPAddressDeny IPAddressAllow LoadCredential;
      };
    expected = {
      complaints = [ ];
      rules = [ "ip daddr { 213.239.246.0/24 } tcp dport { 443 } accept" ];
      rulesElsewhere = [ "ip daddr { 172.24.0.9 } tcp dport { 8080 } accept" ];
      virtualIps = [
        {
          addr = "203.0.113.50/32";
          dev = "lo";
        }
      ];
      told = [
        "notify_master"
        "notify_backup"
        "notify_fault"
        "notify_stop"
      ];
      environment = {
        API = "https://api.hetzner.cloud/v1";
        FLOATING_IPS = "4711";
        SERVER = "42";
      };
      IPAddressDeny = "any";
      IPAddressAllow = [
        "213.239.246.0/24"
        "localhost"
      ];
      LoadCredential = "token:/run/secrets/hcloud-token";
    };
  };

  # The ends that the load balancer has not: a server's host, and the one that watches.
  testServersHost = {
    expr =
      let
        config = evaluate {
          imports = [ ../server.nix ];
          services.fiscalismia-lb.server = {
            enable = true;
            loadBalancers = [
              "172.24.1.3"
              "fd00::3"
            ];
          };
        };
      in
      {
        inherit (config.services.nginx) defaultListen commonHttpConfig;
        rules = config.networking.firewall.extraInputRules;
        complaints = refused config;
      };
    expected = {
      defaultListen =
        map
          (addr: {
            inherit addr;
            port = 443;
            ssl = true;
            proxyProtocol = true;
          })
          [
            "0.0.0.0"
            "[::]"
          ];
      commonHttpConfig = ''
        set_real_ip_from 172.24.1.3;
        set_real_ip_from fd00::3;
        real_ip_header proxy_protocol;
      '';
      rules = ''
        ip saddr { 172.24.1.3 } tcp dport { 443 } accept
        ip6 saddr { fd00::3 } tcp dport { 443 } accept
      '';
      complaints = [ ];
    };
  };
  testMonitoringHost = {
    expr =
      let
        config = evaluate {
          imports = [ ../monitoring.nix ];
          services.grafana.enable = true;
          services.prometheus.listenAddress = "0.0.0.0";
          services.prometheus.port = 9090;
          services.fiscalismia-lb.monitoring = {
            enable = true;
            targets = [ "172.24.1.3:8404" ];
          };
        };
      in
      {
        inherit (config.services.prometheus) scrapeConfigs ruleFiles;
        source = (lib.head config.services.grafana.provision.datasources.settings.datasources).url;
        dashboards = lib.attrNames (
          builtins.readDir (lib.head config.services.grafana.provision.dashboards.settings.providers)
            .options.path
        );
      };
    expected = {
      scrapeConfigs = [
        {
          job_name = "fiscalismia-lb";
          scrape_interval = "15s";
          static_configs = [ { targets = [ "172.24.1.3:8404" ]; } ];
        }
      ];
      ruleFiles = [ ../../grafana/alerts.yml ];
      source = "http://127.0.0.1:9090";
      dashboards = [ "dashboard.json" ];
    };
  };
}
