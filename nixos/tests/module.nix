# What the module makes of right options: units, rules and routes that follow from the routes and the networks.
{
  lib,
  evaluate,
  options,
}:

let
  inherit (import ./six-lines.nix { inherit lib; }) with';
  deployment = evaluate ../fiscalismia.nix;
  sixLines = evaluate (minimal { });
  minimal =
    options:
    with' (
      lib.recursiveUpdate {
        privateInterfaces.enp7s0.networks = [
          "172.24.0.0/23"
          "fd00::/64"
        ];
      } options
    );
  serviceOf = config: config.systemd.services.fiscalismia-lb;
  ruleset = config: config.networking.nftables.tables.fiscalismia-lb.content;
  linesWith =
    part: config: map lib.trim (lib.filter (lib.hasInfix part) (lib.splitString "\n" (ruleset config)));
  oneMoreServer = evaluate (minimal {
    routes.frontend.servers = [
      "172.24.0.3:443"
      "172.24.0.4:8443"
    ];
  });
  topology = lib.importJSON ../../vm-tests/topology.json;
in
{
  testEveryOptionHasAnExample = {
    expr =
      let
        documented = lib.optionAttrSetToDocList options.services.fiscalismia-lb;
      in
      map (option: option.name) (
        lib.filter (
          option: option.visible && !option.internal && !(option ? example && option ? description)
        ) documented
      );
    expected = [ ];
  };

  testSixLinesMakeThisFile = {
    expr = sixLines.services.fiscalismia-lb.configuration;
    expected = {
      control.socket = "/run/fiscalismia-lb/control.sock";
      listen = [
        "0.0.0.0:443"
        "[::]:443"
      ];
      routes.frontend = {
        sni = [ "fiscalismia.com" ];
        servers = [ "172.24.0.3:443" ];
      };
    };
  };

  testEveryKeyOfARouteKeepsItsName = {
    expr =
      (evaluate (minimal {
        routes.frontend = {
          alpn = [ "h2" ];
          listen = [ "0.0.0.0:8443" ];
          allow_from = [ "198.51.100.0/24" ];
          http = {
            port = 80;
            paths = [ "/.well-known/acme-challenge/" ];
          };
          on_all_down = "try";
          balance = "source";
          proxy_protocol = "v2";
          proxy_tlvs = [ "authority" ];
          on_down = "close";
          timeouts.half_closed = "5s";
          health_check = {
            type = "http";
            fast_interval = "1s";
            proxy_header = false;
            expect = [
              200
              204
            ];
          };
          servers = [
            {
              address = "172.24.0.3:443";
              name = "one";
              weight = 0;
              backup = true;
              max_connections = 5;
              source = "172.24.1.3";
              interface = "enp7s0";
            }
          ];
        };
      })).services.fiscalismia-lb.configuration.routes.frontend;
    expected = {
      sni = [ "fiscalismia.com" ];
      alpn = [ "h2" ];
      listen = [ "0.0.0.0:8443" ];
      allow_from = [ "198.51.100.0/24" ];
      http = {
        port = 80;
        paths = [ "/.well-known/acme-challenge/" ];
      };
      on_all_down = "try";
      balance = "source";
      proxy_protocol = "v2";
      proxy_tlvs = [ "authority" ];
      on_down = "close";
      timeouts.half_closed = "5s";
      health_check = {
        type = "http";
        fast_interval = "1s";
        proxy_header = false;
        expect = [
          200
          204
        ];
      };
      servers = [
        {
          address = "172.24.0.3:443";
          name = "one";
          weight = 0;
          backup = true;
          max_connections = 5;
          source = "172.24.1.3";
          interface = "enp7s0";
        }
      ];
    };
  };

  # Without this, the file is refused, for an address of a route's own clashes with the wildcard of its family on port 80.
  testRedirectListensBesideTheWildcardNowhere =
    let
      redirect =
        listen: own:
        (evaluate (minimal {
          redirect.enable = true;
          settings = { inherit listen; };
          routes.mail = {
            listen = own;
            servers = [ "172.24.0.9:993" ];
          };
        })).services.fiscalismia-lb.configuration.redirect.listen;
    in
    {
      expr = [
        (redirect
          [
            "0.0.0.0:443"
            "[::]:443"
          ]
          [
            "203.0.113.10:993"
            "[2001:db8::1]:993"
            "0.0.0.0:25"
          ]
        )
        (redirect [ "0.0.0.0:443" ] [ "[2001:db8::1]:993" ])
        (redirect [ "203.0.113.10:443" ] [ "203.0.113.11:993" ])
      ];
      expected = [
        [
          "0.0.0.0:80"
          "[::]:80"
        ]
        [
          "0.0.0.0:80"
          "[2001:db8::1]:80"
        ]
        [
          "203.0.113.10:80"
          "203.0.113.11:80"
        ]
      ];
    };
  # Without this, the file is refused, which has no address without a prefix length.
  testClientsByAddressAlone = {
    expr =
      (evaluate (minimal {
        routes.frontend.allow_from = [
          "198.51.100.7"
          "2001:db8::7"
          "203.0.113.0/24"
        ];
      })).services.fiscalismia-lb.configuration.routes.frontend.allow_from;
    expected = [
      "198.51.100.7/32"
      "2001:db8::7/128"
      "203.0.113.0/24"
    ];
  };
  # Without this, a route that hands requests on has to say the port that the file takes for granted.
  testPlainHttpGoesToPort80 = {
    expr =
      (evaluate (minimal {
        redirect.enable = true;
        routes.frontend.http.paths = [ "/.well-known/acme-challenge/" ];
      })).services.fiscalismia-lb.configuration.routes.frontend.http.port;
    expected = 80;
  };

  testNewServerIsLetOut = {
    expr = linesWith "elements" oneMoreServer;
    expected = [
      ''elements = { "enp7s0" . 172.24.0.3 . 443, "enp7s0" . 172.24.0.4 . 8443 }''
    ];
  };
  testProbePortIsLetOut = {
    expr = linesWith "elements" (
      evaluate (minimal {
        settings.health_check.port = 8080;
      })
    );
    expected = [
      ''elements = { "enp7s0" . 172.24.0.3 . 443, "enp7s0" . 172.24.0.3 . 8080 }''
    ];
  };
  testServerByIpv6IsLetOut = {
    expr = linesWith "elements" (
      evaluate (minimal {
        routes.frontend.servers = [ "[fd00::3]:443" ];
      })
    );
    expected = [ ''elements = { "enp7s0" . fd00::3 . 443 }'' ];
  };

  testEveryWayOutButThePrivateOnes = {
    expr = linesWith "0.0.0.0/0" deployment;
    expected = [
      "ip daddr { 0.0.0.0/0 } ip daddr != { 10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16 } udp dport { 123 } accept"
      "ip daddr { 0.0.0.0/0 } ip daddr != { 10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16 } tcp dport { 80, 443 } accept"
    ];
  };
  testAPrivateNetworkThatIsNamedToo = {
    expr = linesWith "udp dport" (
      evaluate (minimal {
        publicAddresses = [ "203.0.113.10" ];
        privateInterfaces.enp7s0 = {
          networks = [ "172.24.0.0/23" ];
          address = "172.24.1.3";
          gateway = "172.24.0.1";
        };
        firewall.allowedEgress = [
          {
            networks = [
              "0.0.0.0/0"
              "172.24.0.0/28"
            ];
            protocol = "udp";
            ports = [ 123 ];
          }
        ];
      })
    );
    expected = [
      "ip daddr { 172.24.0.0/28 } udp dport { 123 } accept"
      "ip daddr { 0.0.0.0/0 } ip daddr != { 10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16 } udp dport { 123 } accept"
    ];
  };
  testLeasesOnlyWhereAddressesAreNotGiven = {
    expr = [
      (linesWith "udp sport" sixLines)
      (linesWith "udp sport" deployment)
    ];
    expected = [
      [
        ''iifname { "enp1s0", "enp7s0" } ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept''
        ''oifname { "enp1s0", "enp7s0" } udp sport 68 udp dport 67 accept''
        ''oifname { "enp1s0", "enp7s0" } udp sport 546 udp dport 547 accept''
      ]
      [ ]
    ];
  };
  testNixosFirewallLetsTheSameIn = {
    expr = lib.mapAttrs (_: rules: rules.allowedTCPPorts) deployment.networking.firewall.interfaces;
    expected = {
      enp1s0 = [
        443
        80
      ];
      enp7s0 = [
        22
        8404
      ];
      enp8s0 = [
        22
        8404
      ];
    };
  };
  testNoFirewallTouchesNothing = {
    expr =
      let
        config = evaluate (minimal {
          firewall.enable = false;
        });
      in
      [
        (config.networking.nftables.tables ? fiscalismia-lb)
        (config.networking.firewall.interfaces ? enp1s0)
      ];
    expected = [
      false
      false
    ];
  };

  testSocketsOfTheDeployment = {
    expr = lib.mapAttrs (_: socket: {
      inherit (socket) listenStreams;
      inherit (socket.socketConfig) FileDescriptorName;
      BindToDevice = socket.socketConfig.BindToDevice or null;
    }) (lib.filterAttrs (name: _: lib.hasPrefix "fiscalismia-lb" name) deployment.systemd.sockets);
    expected = {
      fiscalismia-lb-https = {
        listenStreams = [
          "0.0.0.0:443"
          "[::]:443"
        ];
        BindToDevice = "enp1s0";
        FileDescriptorName = "https";
      };
      fiscalismia-lb-http = {
        listenStreams = [
          "0.0.0.0:80"
          "[::]:80"
        ];
        BindToDevice = "enp1s0";
        FileDescriptorName = "http";
      };
      fiscalismia-lb-admin = {
        listenStreams = [ "172.24.1.3:8404" ];
        BindToDevice = null;
        FileDescriptorName = "admin";
      };
      fiscalismia-lb-control = {
        listenStreams = [ "/run/fiscalismia-lb/control.sock" ];
        BindToDevice = null;
        FileDescriptorName = "control";
      };
    };
  };
  testCommandsAreForAGroup = {
    expr =
      map
        (config: {
          inherit
            (config.systemd.sockets.fiscalismia-lb-control.socketConfig or {
              SocketMode = null;
              SocketGroup = null;
            }
            )
            SocketMode
            SocketGroup
            ;
          groups = lib.attrNames config.users.groups;
          user = (serviceOf config).serviceConfig.User;
        })
        [
          sixLines
          (evaluate (minimal {
            control.enable = false;
          }))
        ];
    expected = [
      {
        SocketMode = "0660";
        SocketGroup = "fiscalismia-lb";
        groups = [ "fiscalismia-lb" ];
        user = "fiscalismia-lb-service";
      }
      {
        SocketMode = null;
        SocketGroup = null;
        groups = [ ];
        user = "fiscalismia-lb-service";
      }
    ];
  };
  testServiceMayBindNothingUnlessToASource = {
    expr =
      map
        (
          servers:
          lib.elem "bind" (serviceOf (evaluate (minimal servers))).serviceConfig.SystemCallFilter
        )
        [
          { }
          {
            routes.frontend.servers = [
              {
                address = "172.24.0.3:443";
                source = "172.24.1.3";
              }
            ];
          }
        ];
    expected = [
      false
      true
    ];
  };

  testServiceStartsWithoutTheFilesOfStats = {
    expr = (serviceOf deployment).serviceConfig.SetCredential;
    expected = [
      "stats-username:\\n"
      "stats-password:\\n"
    ];
  };
  testCredentialsAreReadAgainWhereSystemdCan = {
    expr =
      map
        (
          version:
          (serviceOf (evaluate {
            imports = [ (minimal { }) ];
            systemd.package.version = version;
          })).serviceConfig.RefreshOnReload or null
        )
        [
          "257.9"
          "258"
        ];
    expected = [
      null
      "credentials"
    ];
  };
  testEveryCrashCostsTheSame = {
    expr = {
      inherit ((serviceOf deployment).serviceConfig) Restart RestartSec;
      steps = (serviceOf deployment).serviceConfig.RestartSteps or null;
      inherit ((serviceOf deployment)) startLimitIntervalSec;
    };
    expected = {
      Restart = "always";
      RestartSec = "250ms";
      steps = null;
      startLimitIntervalSec = 0;
    };
  };
  # At boot alone: with a link gone, each start would wait for it.
  testNetworkIsAwaitedOnce = {
    expr = {
      after = lib.filter (lib.hasPrefix "network") (serviceOf deployment).after;
      wants = lib.filter (lib.hasPrefix "network") (serviceOf deployment).wants;
      inherit (deployment.systemd.targets) network-online;
    };
    expected = {
      after = [ ];
      wants = [ ];
      network-online = {
        wantedBy = [ "multi-user.target" ];
        before = [ "fiscalismia-lb.service" ];
      };
    };
  };
  # One that never comes would hold the start for a minute and a half, and one made anew would be another.
  testNoInterfaceHoldsTheServiceUp = {
    expr =
      lib.filter (lib.hasSuffix ".device") ((serviceOf deployment).after ++ (serviceOf deployment).wants)
      ++ lib.optional ((serviceOf deployment).serviceConfig ? RestrictNetworkInterfaces) "restricted";
    expected = [ ];
  };
  testKernelIsSetForManyConnections = {
    expr = {
      inherit (sixLines.boot.kernel.sysctl)
        "net.ipv4.tcp_tw_reuse"
        "net.ipv4.ip_local_port_range"
        "net.ipv4.conf.*.accept_redirects"
        "net.ipv6.conf.*.accept_redirects"
        ;
    };
    expected = {
      "net.ipv4.tcp_tw_reuse" = 1;
      "net.ipv4.ip_local_port_range" = "10240 65535";
      "net.ipv4.conf.*.accept_redirects" = 0;
      "net.ipv6.conf.*.accept_redirects" = 0;
    };
  };
  testConnectionsOfClientsAndToServersAreNotTracked = {
    expr = linesWith "notrack" deployment;
    expected = [
      ''iifname "enp1s0" tcp dport { 443, 80 } notrack''
      "iifname . ip saddr . tcp sport @servers4 notrack"
      "iifname . ip6 saddr . tcp sport @servers6 notrack"
      ''iifname { "enp1s0", "enp7s0", "enp8s0" } ct state invalid icmp type { destination-unreachable, time-exceeded, parameter-problem } notrack''
      ''iifname { "enp1s0", "enp7s0", "enp8s0" } ct state invalid icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } notrack''
      ''oifname "enp1s0" tcp sport { 443, 80 } notrack''
      "oifname . ip daddr . tcp dport @servers4 notrack"
      "oifname . ip6 daddr . tcp dport @servers6 notrack"
    ];
  };
  testRepliesAloneLeaveByThePublicInterface = {
    expr = linesWith "tcp sport { 443, 80 } tcp flags" deployment;
    expected = [ "tcp sport { 443, 80 } tcp flags & (syn | ack) != syn accept" ];
  };
  testNixosFirewallTakesWhatIsNotTracked = {
    expr = deployment.networking.firewall.extraInputRules;
    expected = ''
      iifname { "enp1s0", "enp7s0", "enp8s0" } ct state untracked meta l4proto { tcp, icmp } accept
    '';
  };
  testASourceIsTiedToItsInterface = {
    expr = lib.filter (lib.hasSuffix "} drop") (linesWith "saddr" deployment);
    expected = [
      ''iifname != "enp7s0" ip saddr { 172.20.0.0/23 } drop''
      ''iifname != "enp8s0" ip saddr { 172.24.0.0/23 } drop''
    ];
  };
  testPrivateNetworksCarryLess =
    let
      mtu = options: (evaluate (minimal options)).services.fiscalismia-lb.privateInterfaces.enp7s0.mtu;
      addressed.privateInterfaces.enp7s0 = {
        networks = [ "172.24.0.0/23" ];
        address = "172.24.1.3";
        gateway = "172.24.0.1";
      };
    in
    {
      expr = [
        (mtu { })
        (mtu addressed)
        (mtu (lib.recursiveUpdate addressed { privateInterfaces.enp7s0.mtu = 9000; }))
        deployment.systemd.network.networks."20-fiscalismia-lb-enp7s0".linkConfig
      ];
      expected = [
        null
        1450
        9000
        { MTUBytes = "1450"; }
      ];
    };

  testTopologyHasTheDeploymentsAddresses = {
    expr = topology.hosts.loadbalancer.legs;
    expected =
      let
        cfg = deployment.services.fiscalismia-lb;
        leg = interface: {
          inherit interface;
          addresses = [ cfg.privateInterfaces.${interface}.address ];
        };
      in
      {
        internet = {
          interface = cfg.publicInterface;
          addresses = cfg.publicAddresses;
        };
        demo = leg "enp7s0";
        production = leg "enp8s0";
      };
  };
  testTopologyHasTheDeploymentsServers = {
    expr =
      lib.subtractLists
        (lib.concatMap (host: lib.concatMap (leg: leg.addresses) (lib.attrValues host.legs)) (
          lib.attrValues topology.hosts
        ))
        (
          map (lib.removeSuffix ":443") (
            lib.concatMap (route: route.servers) (
              lib.attrValues deployment.services.fiscalismia-lb.configuration.routes
            )
          )
        );
    expected = [ ];
  };
}
