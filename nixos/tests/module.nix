# What the module makes of right options: units, rules and routes that follow from the routes and the networks.
{
  lib,
  evaluate,
  options,
}:

let
  deployment = evaluate ../fiscalismia.nix;
  sixLines = evaluate (minimal { });
  minimal = options: {
    services.fiscalismia-lb = lib.recursiveUpdate {
      enable = true;
      publicInterface = "enp1s0";
      privateInterfaces.enp7s0.networks = [
        "172.24.0.0/23"
        "fd00::/64"
      ];
      routes.frontend.sni = [ "fiscalismia.com" ];
      routes.frontend.servers = [ "172.24.0.3:443" ];
    } options;
  };
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
  # All of the unit but the line that asks for a reload: a change here would restart the service.
  unitText =
    config:
    lib.filter (line: !lib.hasPrefix "X-Reload-Triggers=" line) (
      lib.splitString "\n" config.systemd.units."fiscalismia-lb.service".text
    );
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
          balance = "source";
          proxy_protocol = "v2";
          proxy_tlvs = [ "authority" ];
          on_down = "close";
          timeouts.half_closed = "5s";
          health_check = {
            type = "http";
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
      balance = "source";
      proxy_protocol = "v2";
      proxy_tlvs = [ "authority" ];
      on_down = "close";
      timeouts.half_closed = "5s";
      health_check = {
        type = "http";
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

  testNewServerReloads = {
    expr = unitText oneMoreServer;
    expected = unitText sixLines;
  };
  # What a switch goes by: whether the text of a unit is another one.
  testOtherSocketsAreMadeAnew = {
    expr =
      let
        keeper = config: config.systemd.units."fiscalismia-lb-sockets.service".text;
        differs =
          options:
          let
            other = evaluate (minimal options);
          in
          [
            (keeper other != keeper sixLines)
            (unitText other != unitText sixLines)
          ];
      in
      map differs [
        { settings.listen = [ "203.0.113.10:443" ]; }
        { redirect.enable = true; }
        { settings.timeouts.tunnel = "1m"; }
      ];
    expected = [
      [
        true
        true
      ]
      [
        true
        true
      ]
      [
        false
        false
      ]
    ];
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
      "ip daddr { 0.0.0.0/0 } ip daddr != { 172.20.0.0/23, 172.24.0.0/23 } udp dport { 123 } accept"
      "ip daddr { 0.0.0.0/0 } ip daddr != { 172.20.0.0/23, 172.24.0.0/23 } tcp dport { 80, 443 } accept"
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
      "ip daddr { 0.0.0.0/0 } ip daddr != { 172.24.0.0/23 } udp dport { 123 } accept"
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
    expr = lib.mapAttrs (_: rules: rules.allowedTCPPorts) (
      removeAttrs deployment.networking.firewall.interfaces [ "default" ]
    );
    expected = {
      enp1s0 = [
        80
        443
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
      inherit (socket.socketConfig) BindToDevice FileDescriptorName;
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
        BindToDevice = "enp8s0";
        FileDescriptorName = "admin";
      };
    };
  };
  testServiceMayBindNothingUnlessToASource = {
    expr =
      map (servers: (serviceOf (evaluate (minimal servers))).serviceConfig.SocketBindAllow or null)
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
      null
      "tcp"
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
