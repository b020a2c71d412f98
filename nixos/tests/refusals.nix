# Wrong options: what the assertions say, word for word, and which values the types do not take.
{ lib, evaluate }:

let
  inherit (import ./six-lines.nix { inherit lib; }) sixLines with' refused;

  messages = configuration: lib.filter (lib.hasPrefix "services.") (refused (evaluate configuration));
  says = configuration: expected: {
    expr = messages configuration;
    inherit expected;
  };
  sentence = options: text: says (with' options) [ text ];

  isRefused = options: {
    expr =
      let
        inherit ((evaluate (with' options)).services.fiscalismia-lb)
          configuration
          admin
          firewall
          natGateway
          privateInterfaces
          publicInterface
          statsCredentials
          ;
        values = [
          configuration
          admin
          firewall
          natGateway
          privateInterfaces
          publicInterface
          statsCredentials
        ];
      in
      (builtins.tryEval (builtins.deepSeq values true)).success;
    expected = false;
  };
  server = address: { routes.frontend.servers = [ address ]; };
in
{
  testSixLinesAreEnough = says sixLines [ ];

  testNoRoute = says {
    services.fiscalismia-lb = {
      enable = true;
      publicInterface = "enp1s0";
    };
  } [ "services.fiscalismia-lb.routes is empty, so that no client would be served; add a route." ];

  testSameName =
    sentence
      {
        routes.other = {
          sni = [ "Fiscalismia.com" ];
          servers = [ "172.24.0.4:443" ];
        };
      }
      ''services.fiscalismia-lb.routes: "fiscalismia.com" is routed by "frontend" and "other"; keep it in one of them.'';

  testSameNameTwiceInOneRoute =
    sentence
      {
        routes.frontend.sni = [
          "fiscalismia.com"
          "fiscalismia.com"
        ];
      }
      ''services.fiscalismia-lb.routes: "fiscalismia.com" is routed by "frontend" and "frontend"; keep it in one of them.'';

  testSameNameAndProtocol =
    sentence
      {
        routes.one = {
          sni = [ "a.example" ];
          alpn = [ "h2" ];
          servers = [ "172.24.0.4:443" ];
        };
        routes.two = {
          sni = [ "a.example" ];
          alpn = [
            "http/1.1"
            "h2"
          ];
          servers = [ "172.24.0.4:443" ];
        };
      }
      ''services.fiscalismia-lb.routes: "a.example" is routed by "one" and "two" for the protocol "h2"; keep it in one of them.'';

  testNamesBelowANameAreNotTheSame = says (with' {
    routes.below = {
      sni = [
        "*.fiscalismia.com"
        "**.fiscalismia.com"
      ];
      servers = [ "172.24.0.4:443" ];
    };
  }) [ ];

  testSameNameForAnotherProtocol = says (with' {
    routes.challenge = {
      sni = [ "fiscalismia.com" ];
      alpn = [ "acme-tls/1" ];
      servers = [ "172.24.0.4:443" ];
    };
  }) [ ];

  testNoNameAndNoAddress =
    sentence { routes.frontend.sni = [ ]; }
      "services.fiscalismia-lb.routes.frontend has neither sni nor listen, so that no client would come to it; add host names to sni, or addresses to listen.";
  testNoAddressAtAll =
    sentence { settings.listen = [ ]; }
      "services.fiscalismia-lb.routes.frontend: services.fiscalismia-lb.settings.listen is empty, and this route has no listen of its own; add an address to either.";
  testPlainHttpWithoutTheRedirect =
    sentence
      {
        routes.frontend.http = {
          port = 80;
          paths = [ "/.well-known/acme-challenge/" ];
        };
      }
      "services.fiscalismia-lb.routes.frontend.http needs the redirect, which takes plain HTTP requests; set services.fiscalismia-lb.redirect.enable = true.";
  testSameNameAtAnotherAddress = says (with' {
    routes.mail = {
      sni = [ "fiscalismia.com" ];
      listen = [ "0.0.0.0:993" ];
      servers = [ "172.24.0.9:993" ];
    };
  }) [ ];
  testTwoRoutesForAllOfAnAddress =
    sentence
      {
        routes.mail = {
          listen = [ "0.0.0.0:25" ];
          servers = [ "172.24.0.9:25" ];
        };
        routes.other = {
          listen = [ "0.0.0.0:25" ];
          servers = [ "172.24.0.8:25" ];
        };
      }
      ''services.fiscalismia-lb.routes: "*" is routed by "mail" and "other" at 0.0.0.0:25; keep it in one of them.'';

  testServerOutside = sentence (server "172.24.2.3:443") "services.fiscalismia-lb.routes.frontend.servers: 172.24.2.3:443 is behind none of the private interfaces (enp7s0), so that the sandbox would keep the service from it; correct the address, or add its network to services.fiscalismia-lb.privateInterfaces.<interface>.networks. For a server on the internet the interface is enp1s0.";

  testServerOfTheOtherFamily = sentence (server "[fd00::3]:443") "services.fiscalismia-lb.routes.frontend.servers: [fd00::3]:443 is behind none of the private interfaces (enp7s0), so that the sandbox would keep the service from it; correct the address, or add its network to services.fiscalismia-lb.privateInterfaces.<interface>.networks. For a server on the internet the interface is enp1s0.";

  testServerThroughAnotherInterface =
    sentence
      {
        routes.frontend.servers = [
          {
            address = "172.24.0.3:443";
            interface = "enp1s0";
          }
        ];
      }
      "services.fiscalismia-lb.routes.frontend.servers: 172.24.0.3:443 has the interface enp1s0, which is not one of the private interfaces (enp7s0); add it to services.fiscalismia-lb.privateInterfaces.";

  testNoNftables = says (sixLines // { networking.nftables.enable = false; }) [
    "services.fiscalismia-lb.firewall needs nftables; set networking.nftables.enable = true, or set services.fiscalismia-lb.firewall.enable = false and configure a firewall yourself."
  ];

  testNoNftablesAndNoFirewall = says (
    with' { firewall.enable = false; } // { networking.nftables.enable = false; }
  ) [ ];

  testAdminForNobody =
    sentence { admin.address = "172.24.1.3:8404"; }
      "services.fiscalismia-lb.admin.allowFrom is empty, so that no client could connect to 172.24.1.3:8404; add the address of a client, such as the monitoring host, or set services.fiscalismia-lb.admin.address = null.";

  testAdminOnLoopback = says (with' { admin.address = "127.0.0.1:8404"; }) [ ];

  testAdminInPublic =
    sentence
      {
        admin = {
          address = "0.0.0.0:8404";
          allowFrom = [ "172.24.0.2" ];
        };
      }
      "services.fiscalismia-lb.admin.address: 0.0.0.0:8404 is neither in a network of the private interfaces (enp7s0) nor on loopback; use this host's own address in one of them, so that /stats and /metrics cannot be reached from the internet.";

  testHalfTheCredentials =
    sentence { statsCredentials.usernameFile = "/run/secrets/name"; }
      "services.fiscalismia-lb.statsCredentials has one file of two; set both usernameFile and passwordFile, or neither.";

  testGatewayElsewhere =
    sentence
      {
        publicAddresses = [ "203.0.113.10" ];
        natGateway = {
          interface = "enp9s0";
          address = "172.24.0.1";
        };
      }
      "services.fiscalismia-lb.natGateway.interface: enp9s0 is not one of the private interfaces (enp7s0); use the interface that leads to the NAT gateway, or add this one to services.fiscalismia-lb.privateInterfaces.";

  testGatewayWithoutAddresses =
    says
      (with' {
        natGateway = {
          interface = "enp7s0";
          address = "172.24.0.1";
        };
      })
      [
        "services.fiscalismia-lb.natGateway needs this host's address on enp7s0; set services.fiscalismia-lb.privateInterfaces.enp7s0.address and .gateway."
        "services.fiscalismia-lb.natGateway needs the address to which clients connect, so that replies to them leave by enp1s0; set services.fiscalismia-lb.publicAddresses."
      ];

  testAddressWithoutGateway =
    sentence { privateInterfaces.enp7s0.address = "172.24.1.3"; }
      "services.fiscalismia-lb.privateInterfaces.enp7s0: address needs a gateway; set gateway to the network's first address, which is its virtual gateway.";

  testPrivateGatewayAlone =
    sentence { privateInterfaces.enp7s0.gateway = "172.24.0.1"; }
      "services.fiscalismia-lb.privateInterfaces.enp7s0: gateway needs an address; set address to this host's own in the network, or remove gateway and configure the interface yourself.";

  testMtuOfAnInterfaceOfTheUsers =
    sentence { privateInterfaces.enp7s0.mtu = 1400; }
      "services.fiscalismia-lb.privateInterfaces.enp7s0: mtu needs an address; set address, or set the MTU where the interface is configured.";

  testListenOnIpv6WithoutIt =
    says
      (
        with' { settings.listen = [ "[::]:443" ]; }
        // {
          networking.enableIPv6 = false;
        }
      )
      [
        "services.fiscalismia-lb.settings.listen: [::]:443 cannot be bound while networking.enableIPv6 is false; remove it."
      ];

  testTwoFamiliesOnOneInterface =
    sentence
      {
        privateInterfaces.enp7s0 = {
          networks = [
            "172.24.0.0/23"
            "fd00::/64"
          ];
          address = "172.24.1.3";
          gateway = "172.24.0.1";
        };
      }
      "services.fiscalismia-lb.privateInterfaces.enp7s0: address, gateway and networks are not all of one family; remove address and gateway and configure the interface yourself.";

  testInterfaceOfNoName =
    sentence { privateInterfaces."enp8s0; drop".networks = [ "172.20.0.0/23" ]; }
      ''services.fiscalismia-lb.privateInterfaces: "enp8s0; drop" is not the name of a network interface; use a name that `ip link` shows.'';

  testNetworkBehindTwoInterfaces =
    sentence { privateInterfaces.enp8s0.networks = [ "172.16.0.0/12" ]; }
      "services.fiscalismia-lb.privateInterfaces: 172.24.0.0/23 behind enp7s0 and 172.16.0.0/12 behind enp8s0 have addresses in common; put each network behind one interface only.";

  testTwoPublicGateways = sentence {
    publicAddresses = [ "203.0.113.10" ];
    publicGateways = [
      "203.0.113.1"
      "203.0.113.2"
    ];
  } "services.fiscalismia-lb.publicGateways has 2 IPv4 gateways for publicAddresses; it needs one.";

  testNoPublicGatewayOfTheFamily = sentence {
    publicAddresses = [ "2001:db8:1::10" ];
    publicGateways = [ "203.0.113.1" ];
  } "services.fiscalismia-lb.publicGateways has 0 IPv6 gateways for publicAddresses; it needs one.";

  testAdminOnAnotherHostsAddress =
    sentence
      {
        privateInterfaces.enp7s0 = {
          networks = [ "172.24.0.0/23" ];
          address = "172.24.1.3";
          gateway = "172.24.0.1";
        };
        admin = {
          address = "172.24.1.4:8404";
          allowFrom = [ "172.24.0.2" ];
        };
      }
      "services.fiscalismia-lb.admin.address: 172.24.1.4:8404 is not an address of this host, which has 172.24.1.3 on enp7s0; use that address.";

  testPassageWithoutPorts =
    sentence { firewall.allowedEgress = [ { networks = [ "8.8.8.8" ]; } ]; }
      "services.fiscalismia-lb.firewall.allowedEgress: tcp with 8.8.8.8 has no ports; add some.";

  testPingWithPorts =
    sentence
      {
        firewall.allowedIngress = [
          {
            networks = [ "172.24.0.2" ];
            protocol = "icmp";
            ports = [ 1 ];
          }
        ];
      }
      "services.fiscalismia-lb.firewall.allowedIngress: icmp with 172.24.0.2 cannot have ports; remove them, or use tcp or udp.";

  testSecondWayToRoutes =
    sentence { settings.routes = { }; }
      "services.fiscalismia-lb.settings.routes: use services.fiscalismia-lb.routes instead, for the firewall and the sockets need it too.";

  testKeepalivedBehindTheFirewall =
    says
      (
        sixLines
        // {
          services = sixLines.services // {
            keepalived.enable = true;
          };
        }
      )
      [
        "services.keepalived.enable: this host's firewall drops VRRP, so that every host would take the address; configure it with services.fiscalismia-lb.highAvailability, or set services.fiscalismia-lb.firewall.enable = false."
      ];
  testSecondHostWithoutHealth =
    sentence
      {
        highAvailability = {
          enable = true;
          interface = "enp7s0";
          peers = [ "172.24.1.6" ];
          address = "203.0.113.50";
        };
      }
      "services.fiscalismia-lb.highAvailability needs this host's /health; set services.fiscalismia-lb.admin.address.";
  testSecondHostElsewhere =
    says
      (with' {
        admin.address = "127.0.0.1:8404";
        publicAddresses = [ "203.0.113.50" ];
        highAvailability = {
          enable = true;
          interface = "enp9s0";
          peers = [ "172.24.1.6" ];
          address = "203.0.113.50";
        };
      })
      [
        "services.fiscalismia-lb.highAvailability.interface: enp9s0 is neither a private interface (enp7s0) nor the public one (enp1s0); use an interface that leads to the other hosts."
        "services.fiscalismia-lb.highAvailability.address: 203.0.113.50 is among services.fiscalismia-lb.publicAddresses, so that every host would have it; remove it there."
      ];
  testSecondHostAtHetznerWithoutTheAddress =
    sentence
      {
        admin.address = "127.0.0.1:8404";
        highAvailability = {
          enable = true;
          interface = "enp7s0";
          peers = [ "172.24.1.6" ];
          address = [ "203.0.113.50" ];
          hetzner = {
            floatingIp = 1;
            server = 2;
            tokenFile = "/run/secrets/token";
          };
        };
      }
      "services.fiscalismia-lb.highAvailability.address: 203.0.113.50 has to be an address of every host, for the cloud sends its packets to any of them; add it to services.fiscalismia-lb.publicAddresses.";

  testServerWithoutPort = isRefused (server "172.24.0.3");
  testServerOnPortZero = isRefused (server "172.24.0.3:0");
  testServerOnPortTooHigh = isRefused (server "172.24.0.3:65536");
  testServerByName = isRefused (server "frontend:443");
  testServerNoAddress = isRefused (server "172.24.0.256:443");
  testServerIpv6WithoutBrackets = isRefused (server "fd00::3:443");
  testServerMisspelt = isRefused {
    routes.frontend.servers = [
      {
        address = "172.24.0.3:443";
        maxConnections = 5;
      }
    ];
  };
  testNoServer = isRefused { routes.frontend.servers = [ ]; };
  testNameWithPort = isRefused { routes.frontend.sni = [ "fiscalismia.com:443" ]; };
  testNameWithScheme = isRefused { routes.frontend.sni = [ "https://fiscalismia.com" ]; };
  testWildcardOfThree = isRefused { routes.frontend.sni = [ "***.a.com" ]; };
  testWildcardInside = isRefused { routes.frontend.sni = [ "a.*.com" ]; };
  testWeightTooHigh = isRefused {
    routes.frontend.servers = [
      {
        address = "172.24.0.3:443";
        weight = 257;
      }
    ];
  };
  testServerNameWithSpace = isRefused {
    routes.frontend.servers = [
      {
        address = "172.24.0.3:443";
        name = "server one";
      }
    ];
  };
  testServerNameOfHaproxysOwn = isRefused {
    routes.frontend.servers = [
      {
        address = "172.24.0.3:443";
        name = "BACKEND";
      }
    ];
  };
  testProbeOnPortZero = isRefused { routes.frontend.health_check.port = 0; };
  testUnknownBalance = isRefused { routes.frontend.balance = "roundrobin"; };
  testUnknownRouteKey = isRefused { routes.frontend.server = "172.24.0.3:443"; };
  testDurationWithoutUnit = isRefused { routes.frontend.timeouts.tunnel = "30"; };
  testExpectBackwards = isRefused {
    routes.frontend.health_check.expect = [
      399
      200
    ];
  };
  testNetworkWithHostBits = isRefused { privateInterfaces.enp7s0.networks = [ "172.24.0.3/23" ]; };
  testNetworkTooLong = isRefused { privateInterfaces.enp7s0.networks = [ "172.24.0.0/33" ]; };
  testInterfaceTooLong = isRefused { publicInterface = "an-interface-name"; };
  testSecretInTheStore = isRefused {
    statsCredentials.passwordFile = "${builtins.storeDir}/00000000000000000000000000000000-secret";
  };
  testNatGatewayByIpv6 = isRefused {
    natGateway = {
      interface = "enp7s0";
      address = "fe80::1";
    };
  };
  testPassageToPortZero = isRefused {
    firewall.allowedEgress = [
      {
        networks = [ "8.8.8.8" ];
        ports = [ 0 ];
      }
    ];
  };
  testForwardFromNowhere = isRefused {
    firewall.forward = [
      {
        from = "a*b";
        to = "enp7s0";
      }
    ];
  };
  testListenByPort = isRefused { settings.listen = [ ":443" ]; };
}
