# The sockets that systemd holds for the service, so that they stay open while that is restarted, and what makes them anew.
{
  config,
  lib,
  utils,
  ...
}:

let
  cfg = config.services.fiscalismia-lb;
  addresses = import ./addresses.nix { inherit lib; };
  device = interface: "sys-subsystem-net-devices-${utils.escapeSystemdPath interface}.device";

  socket =
    {
      name,
      listen,
      interface ? null,
      description,
      socketConfig ? { },
    }:
    {
      inherit description;
      # The device unit brings the socket back when its interface went away and returned: BindToDevice stops it with the interface.
      wantedBy = [ "sockets.target" ] ++ lib.optional (interface != null) (device interface);
      listenStreams = listen;
      socketConfig = {
        FileDescriptorName = name;
        Service = "fiscalismia-lb.service";
        BindIPv6Only = "ipv6-only";
        # The socket is there before the address is.
        FreeBind = true;
        # Without a limit, a service that crashes on start leaves its ports open for the next try.
        TriggerLimitIntervalSec = 0;
      }
      // lib.optionalAttrs (interface != null) { BindToDevice = interface; }
      // socketConfig;
    };

  https = lib.optionalAttrs (cfg.settings.listen != [ ]) {
    fiscalismia-lb-https = socket {
      name = "https";
      description = "TLS for fiscalismia-lb";
      listen = cfg.settings.listen;
      interface = cfg.publicInterface;
    };
  };
  others =
    lib.mapAttrs' (
      route: listen:
      lib.nameValuePair "fiscalismia-lb-route-${utils.escapeSystemdPath route}" (socket {
        name = route;
        description = "Route ${route} of fiscalismia-lb";
        inherit listen;
        interface = cfg.publicInterface;
      })
    ) cfg.listeners
    // lib.optionalAttrs cfg.redirect.enable {
      fiscalismia-lb-http = socket {
        name = "http";
        description = "Redirect to https by fiscalismia-lb";
        listen = cfg.configuration.redirect.listen;
        interface = cfg.publicInterface;
      };
    }
    // lib.optionalAttrs cfg.control.enable {
      fiscalismia-lb-control = socket {
        name = "control";
        description = "Commands to fiscalismia-lb";
        listen = [ cfg.configuration.control.socket ];
        socketConfig = {
          SocketMode = "0660";
          SocketGroup = "fiscalismia-lb";
        };
      };
    }
    // lib.optionalAttrs (cfg.admin.address != null) {
      # Not bound to its interface: it would stop with that, and could not start again while the service runs.
      fiscalismia-lb-admin = socket {
        name = "admin";
        description = "Metrics and statistics of fiscalismia-lb";
        listen = cfg.configuration.admin.listen;
        socketConfig = {
          IPAddressDeny = "any";
          IPAddressAllow =
            let
              inherit (addresses.parseEndpoint cfg.admin.address) address;
            in
            lib.optional (addresses.isLoopback address) "localhost"
            # keepalived asks from this host.
            ++ lib.optional cfg.highAvailability.enable address
            ++ cfg.admin.allowFrom;
        };
      };
    };

  # A switch leaves a changed socket unit as it runs. A keeper is restarted then, and takes its sockets along, which take along
  # the load balancer. Its text is bare, so that nothing else restarts it. The socket for TLS has one of its own, so that it stays
  # open, and holds clients, while the others are made anew.
  keeper = name: description: kept: {
    sockets = lib.mapAttrs (_: unit: unit // { partOf = [ "${name}.service" ]; }) kept;
    units."${name}.service" = {
      text = ''
        [Unit]
        Description=${description}
        X-Restart-Triggers=${builtins.hashString "sha256" (builtins.toJSON kept)}

        [Service]
        Type=oneshot
        RemainAfterExit=true
        ExecStart=/bin/sh -c :
        X-StopIfChanged=false
      '';
      wantedBy = [ "multi-user.target" ];
    };
  };
in
{
  config.users.groups = lib.mkIf (cfg.enable && cfg.control.enable) { fiscalismia-lb = { }; };
  config.systemd = lib.mkIf cfg.enable (
    lib.mkMerge [
      (keeper "fiscalismia-lb-sockets"
        "Makes the socket for TLS of fiscalismia-lb anew when it is to be another"
        https
      )
      (keeper "fiscalismia-lb-other-sockets"
        "Makes the other sockets of fiscalismia-lb anew when they are to be others"
        others
      )
      {
        services.fiscalismia-lb =
          let
            unitsOf = sockets: map (name: "${name}.socket") (lib.attrNames sockets);
            units = unitsOf (https // others);
          in
          {
            wantedBy = unitsOf https;
            # A listening socket that its interface took away comes back as another one, which only a new process can be given.
            requires = unitsOf https;
            partOf = [ "fiscalismia-lb-other-sockets.service" ];
            wants = units;
            after = units;
          };
      }
    ]
  );
}
