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
          Where the server listens. It has to be in one of the networks of
          {option}`services.fiscalismia-lb.privateInterfaces`; the firewall lets the host connect to it and to nothing else.
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
            description = "Name of the server in the log, the metrics and on /stats, in place of its address.";
          };
      weight = optional (types.ints.between 0 256) {
        example = 10;
        description = "Share of new connections among the route's servers. 0 sends it no new ones and leaves open ones alone.";
      };
      backup = optional types.bool {
        example = true;
        description = "Gets connections only while every other server of the route is down.";
      };
      max_connections = optional types.ints.positive {
        example = 500;
        description = "Connections at once; more go to the route's other servers.";
      };
      source = optional address {
        example = "172.24.1.3";
        description = ''
          Local address to connect from. The service may then bind ports, which it otherwise may not.
        '';
      };
      interface = optional interface {
        example = "enp8s0";
        description = ''
          Device to connect through, whatever the routing table says; one of
          {option}`services.fiscalismia-lb.privateInterfaces`.
        '';
      };
    };
  };

  timeouts = types.submodule {
    options = {
      connect = optional duration {
        example = "2s";
        description = "How long a server may take to answer a connect before another one is tried.";
      };
      tunnel = optional duration {
        example = "30m";
        description = "A connection on which no byte moves either way for this long is closed.";
      };
      half_closed = optional duration {
        example = "10s";
        description = "The same, once one side has ended its direction.";
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
              What a server has to do to count as up: accept a connection (`tcp`), answer a hello for the route's first exact
              name with a ServerHello (`tls`), answer a GET in plain HTTP (`http`), or nothing (`off`: it is up always).
            '';
          };
      interval = optional duration {
        example = "2s";
        description = "Time between two probes. A server is out of use after up to `fall` times this.";
      };
      fast_interval = optional duration {
        example = "1s";
        description = "Time between two probes while a verdict is pending; `interval` unless set.";
      };
      timeout = optional duration {
        example = "1s";
        description = "A probe that takes longer has failed.";
      };
      fall = optional types.ints.positive {
        example = 2;
        description = "Failures in a row that take a server down.";
      };
      rise = optional types.ints.positive {
        example = 3;
        description = "Successes in a row that bring it back.";
      };
      port = optional port {
        example = 8080;
        description = "Port to probe in place of the server's own; the firewall is opened for it.";
      };
      path = optional (types.strMatching "/[^ ]*") {
        example = "/health";
        description = "Path that an `http` probe asks for.";
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
            description = "Lowest and highest status that passes an `http` probe.";
          };
      proxy_header = optional types.bool {
        example = false;
        description = ''
          Whether a probe begins with a PROXY header (LOCAL), as a server that insists on the header needs. Only with
          `proxy_protocol` v2.
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
        Names of this route: `a.b` is that name, `*.a.b` any with one label more, `**.a.b` any with one label or more (the
        longest such name wins), `*` all that no other route takes, and clients that send no name. `a.b` beats `*.a.b` beats
        `**.a.b` beats `*`. Clients that ask for a name of no route are not answered.
      '';
    };
    listen = mkOption {
      type = types.listOf endpoint;
      default = [ ];
      example = [ "0.0.0.0:993" ];
      description = ''
        Addresses for this route, opened on the public interface beside `settings.listen`, which it then does not serve. With
        {option}`sni` the names hold there; without, whatever comes there is the route's at once, TLS or not.
      '';
    };
    allow_from = mkOption {
      type = types.listOf network;
      default = [ ];
      example = [ "198.51.100.0/24" ];
      description = "Clients of this route; one from elsewhere is refused. Empty: everybody.";
    };
    http =
      optional
        (types.submodule {
          options = {
            port = mkOption {
              type = port;
              example = 80;
              description = "Port of the route's servers for plain HTTP; the firewall is opened for it.";
            };
            paths = mkOption {
              type = types.nonEmptyListOf (types.strMatching "/[^ ?#]*");
              example = [ "/.well-known/acme-challenge/" ];
              description = "What a request's path begins with to be handed over.";
            };
          };
        })
        {
          example = {
            port = 80;
            paths = [ "/.well-known/acme-challenge/" ];
          };
          description = ''
            Hand plain requests for a name of this route and such a path to its servers, in place of the redirect: certificates by
            HTTP-01 are got so. Takes {option}`services.fiscalismia-lb.redirect.enable`.
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
          description = "What a client gets while every server is down: an end at once, or a try all the same.";
        };
    alpn = mkOption {
      type = types.listOf (types.strMatching ".{1,255}");
      default = [ ];
      example = [ "acme-tls/1" ];
      description = ''
        Take only clients that offer one of these protocols; such a route goes before one for the same name without this option.
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
      description = "Where connections go: an address and port, or more about the server as an attribute set.";
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
          description = "How a server is picked. `source` keeps a client's address with one server while that is up.";
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
            PROXY header that tells the server who the client is; v2 unless set. The server has to expect the very same, or it
            answers nobody.
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
        What a PROXY v2 header says beyond addresses: what a balancer in front told, the name asked for, the protocol, an id that
        is in the log too, a checksum.
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
          description = "What happens to the open connections of a server that goes down.";
        };
    timeouts = mkOption {
      type = timeouts;
      default = { };
      example = {
        tunnel = "30m";
      };
      description = "Timeouts of this route in place of those in {option}`services.fiscalismia-lb.settings`.";
    };
    health_check = mkOption {
      type = healthCheck;
      default = { };
      example = {
        type = "tls";
        interval = "2s";
      };
      description = "Probes of this route's servers in place of those in {option}`services.fiscalismia-lb.settings`.";
    };
  };
}
