# Options of one route. They carry the names of the configuration file, where /stats, the metrics and the log have them too;
# null leaves a key out of the file, and the program's own default holds.
{ lib, addresses }:

let
  inherit (lib) mkOption types;
  inherit (addresses.types)
    address
    duration
    endpoint
    interface
    network
    port
    ;

  optional =
    type: attributes:
    mkOption (
      {
        type = types.nullOr type;
        default = null;
      }
      // attributes
    );

  label = "[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?";
  sni =
    types.addCheck (types.strMatching "\\*|(\\*\\*?\\.)?${label}(\\.${label})*") (
      name: lib.stringLength name <= 253
    )
    // {
      description = "host name, *.NAME, **.NAME, or *";
      descriptionClass = "noun";
    };

  server = types.submodule {
    options = {
      address = mkOption {
        type = endpoint;
        example = "172.24.0.3:443";
        description = ''
          Address and port on which the server listens. The address has to be in a network of
          {option}`services.fiscalismia-lb.privateInterfaces` or on this host. The firewall lets this host connect to it.
        '';
      };
      # It stands in log lines without quotes; the two words are HAProxy's own in the CSV.
      name =
        optional
          (types.addCheck (types.strMatching "[a-zA-Z0-9._:-]{1,255}") (
            name: name != "FRONTEND" && name != "BACKEND"
          ))
          {
            example = "demo01";
            description = "Name of the server in the log, in the metrics and on /stats. Without one, its address is its name.";
          };
      weight = optional (types.ints.between 0 256) {
        example = 10;
        description = "Weight of the server among those of its route: its share of new connections. With 0 it gets none, and its open connections continue.";
      };
      backup = optional types.bool {
        example = true;
        description = "Whether this server is a backup, which gets connections only while no other server of its route is up. Of several backups, the first that is up gets them.";
      };
      max_connections = optional types.ints.positive {
        example = 500;
        description = "Highest number of connections that the server has at once. Further clients go to the other servers of its route, or wait.";
      };
      source = optional address {
        example = "172.24.1.3";
        description = ''
          Address of this host from which the load balancer connects to the server. With it, the system call filter of the service
          allows bind.
        '';
      };
      interface = optional interface {
        example = "enp8s0";
        description = ''
          Network interface through which the load balancer connects to the server, whatever the routing table says. It has to be
          one of {option}`services.fiscalismia-lb.privateInterfaces`.
        '';
      };
    };
  };

  timeouts = types.submodule {
    options = {
      connect = optional duration {
        example = "2s";
        description = "Longest time for a connect to a server. After it the load balancer tries another server.";
      };
      tunnel = optional duration {
        example = "30m";
        description = "Longest time without a byte in either direction. After it the load balancer closes the connection.";
      };
      half_closed = optional duration {
        example = "10s";
        description = "Longest time without a byte once client or server has ended its direction. After it the load balancer closes the connection.";
      };
    };
  };

  healthCheck = types.submodule {
    options = {
      type =
        optional
          (types.enum [
            "tcp"
            "tls"
            "http"
            "off"
          ])
          {
            example = "tls";
            description = ''
              Kind of probe. With `tcp` the server passes when it accepts a connection, with `tls` when it answers a hello for the
              route's first exact name with a ServerHello, with `http` when it answers a GET in plain HTTP. With `off` there are no
              probes, and the server is always up.
            '';
          };
      interval = optional duration {
        example = "2s";
        description = "Time between two probes of a server. A server that fails is down after at most {option}`fall` such intervals.";
      };
      fast_interval = optional duration {
        example = "1s";
        description = "Time between two probes of a server while a verdict is pending: a probe has failed or passed, and not yet as many as {option}`fall` or {option}`rise` ask for. The default is {option}`interval`.";
      };
      timeout = optional duration {
        example = "1s";
        description = "Longest time for a probe. One that takes longer has failed.";
      };
      fall = optional types.ints.positive {
        example = 2;
        description = "Number of failed probes in a row that take a server down.";
      };
      rise = optional types.ints.positive {
        example = 3;
        description = "Number of passed probes in a row that bring a server up again.";
      };
      port = optional port {
        example = 8080;
        description = "Port for probes, in place of that in the server's address. The firewall lets this host connect to it.";
      };
      path = optional (types.strMatching "/[^ ]*") {
        example = "/health";
        description = "Path that a probe of type `http` requests.";
      };
      expect =
        optional
          (types.addCheck (types.listOf (types.ints.between 100 599)) (
            range: lib.length range == 2 && lib.head range <= lib.last range
          ))
          {
            example = [
              200
              204
            ];
            description = "Lowest and highest HTTP status with which a probe of type `http` passes.";
          };
      proxy_header = optional types.bool {
        example = false;
        description = ''
          Whether a probe begins with a PROXY header, on a route that has one. A server that accepts no connection without a header
          needs it. A header of `v2` says LOCAL, one of `v1` has the probe's own addresses.
        '';
      };
    };
  };
in
types.submodule {
  options = {
    sni = mkOption {
      type = types.listOf sni;
      default = [ ];
      example = [
        "demo.fiscalismia.com"
        "*.demo.fiscalismia.com"
      ];
      description = ''
        Host names of this route: `a.b` is that name, `*.a.b` any with one label more, `**.a.b` any with one label or more (the
        longest such name wins), and `*` every name that no other route takes, and no name. `a.b` beats `*.a.b` beats `**.a.b`
        beats `*`. A client whose name no route has gets no answer.
      '';
    };
    listen = mkOption {
      type = types.listOf endpoint;
      default = [ ];
      example = [ "0.0.0.0:993" ];
      description = ''
        Addresses and ports of this route's own, open on the public interface. The route then takes no client of
        {option}`services.fiscalismia-lb.settings.listen`. With {option}`sni` it takes the clients that ask for such a name at its
        own addresses. Without {option}`sni` it takes every client there, with TLS or without.
      '';
    };
    allow_from = mkOption {
      type = types.listOf network;
      default = [ ];
      example = [ "198.51.100.0/24" ];
      description = "Addresses and networks of the clients that may use this route. Other clients are refused. With an empty list every client may use it.";
    };
    http =
      optional
        (types.submodule {
          options = {
            port = mkOption {
              type = port;
              default = 80;
              example = 8080;
              description = "Port on which the route's servers answer plain HTTP. The firewall lets this host connect to it.";
            };
            paths = mkOption {
              type = types.nonEmptyListOf (types.strMatching "/[^ ?#]*");
              example = [ "/.well-known/acme-challenge/" ];
              description = "Beginnings of paths. A plain HTTP request with such a path goes to a server of the route.";
            };
          };
        })
        {
          example = {
            port = 80;
            paths = [ "/.well-known/acme-challenge/" ];
          };
          description = ''
            Plain HTTP requests that go to the route's servers in place of the redirect, such as those of an authority that checks
            a certificate's name by HTTP-01. This takes {option}`services.fiscalismia-lb.redirect.enable`.
          '';
        };
    on_all_down =
      optional
        (types.enum [
          "refuse"
          "try"
        ])
        {
          example = "try";
          description = "What the load balancer does with a client while every server of the route is down: close its connection at once (`refuse`), or try the servers all the same (`try`).";
        };
    alpn = mkOption {
      type = types.listOf (types.strMatching ".{1,255}");
      default = [ ];
      example = [ "acme-tls/1" ];
      description = ''
        ALPN protocols of this route. It takes only clients that offer one of them, and goes before a route with the same name and
        no protocols.
      '';
    };
    servers = mkOption {
      type = types.nonEmptyListOf (types.coercedTo endpoint (address: { inherit address; }) server);
      example = lib.literalExpression ''
        [
          "172.24.0.3:443"
          { name = "standby"; address = "172.24.0.5:443"; backup = true; }
        ]
      '';
      description = "Servers of this route, each as an address and port, or as an attribute set with further options.";
    };
    balance =
      optional
        (types.enum [
          "round_robin"
          "least_connections"
          "source"
        ])
        {
          example = "least_connections";
          description = "How the load balancer picks a server for a client. With `source` a client's address always gets the same server while that server is up.";
        };
    proxy_protocol =
      optional
        (types.enum [
          "v2"
          "v1"
          "off"
        ])
        {
          example = "v1";
          description = ''
            Version of the PROXY header that tells the server the client's address, `off` for none. The default is `v2`. The server
            has to expect the same: otherwise it answers no client.
          '';
        };
    proxy_tlvs = mkOption {
      type = types.listOf (
        types.enum [
          "received"
          "authority"
          "alpn"
          "unique_id"
          "crc32c"
        ]
      );
      default = [ ];
      example = [ "authority" ];
      description = ''
        Further fields of a PROXY v2 header: those that a balancer in front sent (`received`), the name in the hello (`authority`),
        the ALPN protocol (`alpn`), an id that the log has too (`unique_id`), a checksum (`crc32c`).
      '';
    };
    on_down =
      optional
        (types.enum [
          "keep"
          "close"
        ])
        {
          example = "close";
          description = "What the load balancer does with the open connections of a server that goes down.";
        };
    timeouts = mkOption {
      type = timeouts;
      default = { };
      example = {
        tunnel = "30m";
      };
      description = "Timeouts of this route. Each takes the place of that in {option}`services.fiscalismia-lb.settings`.";
    };
    health_check = mkOption {
      type = healthCheck;
      default = { };
      example = {
        type = "tls";
        interval = "2s";
      };
      description = "Health check of this route's servers. Each key takes the place of that in {option}`services.fiscalismia-lb.settings`.";
    };
  };
}
