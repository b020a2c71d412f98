# The service, its sandbox, and the sockets that systemd holds for it.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:

let
  cfg = config.services.fiscalismia-lb;
  addresses = import ./addresses.nix { inherit lib; };
  configPath = "fiscalismia-lb/config.json";

  configFile = (pkgs.formats.json { }).generate "fiscalismia-lb.json" cfg.configuration;
  # Checked by the very program that is going to read it, where that can run.
  checkedConfigFile =
    if pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform then
      pkgs.runCommand "fiscalismia-lb-checked.json" { } ''
        ln -s ${configFile} config.json
        ${lib.getExe cfg.package} check --config config.json
        ln -s ${configFile} $out
      ''
    else
      configFile;

  device = interface: "sys-subsystem-net-devices-${utils.escapeSystemdPath interface}.device";
  privateInterfaces = lib.attrNames cfg.privateInterfaces;
  servers = lib.concatMap (route: route.servers) (lib.attrValues cfg.routes);

  socket =
    {
      name,
      listen,
      interface,
      description,
      socketConfig ? { },
    }:
    {
      inherit description;
      partOf = [ keeper ];
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

  adminInterface = lib.findFirst (
    name:
    addresses.containsAny cfg.privateInterfaces.${name}.networks
      (addresses.parseEndpoint cfg.admin.address).address
  ) null privateInterfaces;

  sockets = {
    fiscalismia-lb-https = socket {
      name = "https";
      description = "TLS for fiscalismia-lb";
      listen = cfg.configuration.listen;
      interface = cfg.publicInterface;
    };
  }
  // lib.optionalAttrs cfg.redirect.enable {
    fiscalismia-lb-http = socket {
      name = "http";
      description = "Redirect to https by fiscalismia-lb";
      listen = cfg.configuration.redirect.listen;
      interface = cfg.publicInterface;
    };
  }
  // lib.optionalAttrs (cfg.admin.address != null) {
    fiscalismia-lb-admin = socket {
      name = "admin";
      description = "Metrics and statistics of fiscalismia-lb";
      listen = cfg.configuration.admin.listen;
      interface = adminInterface;
      socketConfig = {
        IPAddressDeny = "any";
        IPAddressAllow = if adminInterface == null then "localhost" else cfg.admin.allowFrom;
      };
    };
  };
  socketUnits = map (name: "${name}.socket") (lib.attrNames sockets);

  # A switch leaves a changed socket unit as it runs. This service is restarted then, and takes the sockets along, which take
  # along the load balancer. Its text is bare, so that nothing else restarts it.
  keeper = "fiscalismia-lb-sockets.service";
  socketsHash = builtins.hashString "sha256" (builtins.toJSON sockets);
in
{
  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    # A fixed path, for a store path in the unit would make each change of the configuration a restart.
    environment.etc.${configPath}.source = checkedConfigFile;

    systemd.sockets = sockets;
    systemd.units.${keeper} = {
      text = ''
        [Unit]
        Description=Makes the sockets of fiscalismia-lb anew when they are to be others
        X-Restart-Triggers=${socketsHash}

        [Service]
        Type=oneshot
        RemainAfterExit=true
        ExecStart=/bin/sh -c :
        X-StopIfChanged=false
      '';
      wantedBy = [ "multi-user.target" ];
    };

    systemd.services.fiscalismia-lb = {
      description = "TLS load balancer that routes by SNI";
      documentation = [ "https://github.com/fiscalismia/fiscalismia-lb" ];
      wantedBy = [
        "multi-user.target"
        "fiscalismia-lb-https.socket"
      ];
      # A listening socket that its interface took away comes back as another one, which only a new process can be given.
      requires = [ "fiscalismia-lb-https.socket" ];
      # RestrictNetworkInterfaces looks the interfaces up once, when the service starts.
      wants = socketUnits ++ map device privateInterfaces;
      after = [ "network.target" ] ++ socketUnits ++ map device privateInterfaces;
      reloadTriggers = [ checkedConfigFile ];
      restartTriggers = [ socketsHash ];
      # Stopped and started in two steps, a switch would close the sockets in between.
      stopIfChanged = false;
      startLimitIntervalSec = 0;
      # It starts no program, and an update of those that NixOS puts here would restart it.
      path = lib.mkForce [ ];

      serviceConfig = {
        Type = "notify-reload";
        ExecStart = "${lib.getExe cfg.package} run --config /etc/${configPath}";
        WatchdogSec = "10s";
        Restart = "always";
        RestartSteps = 5;
        RestartMaxDelaySec = "10s";
        # The program ends by itself when `timeouts.drain` is over; this is for one that does not.
        TimeoutStopSec = "10min";
        LoadCredential = lib.optionals (cfg.statsCredentials.usernameFile != null) [
          "stats-username:${cfg.statsCredentials.usernameFile}"
          "stats-password:${cfg.statsCredentials.passwordFile}"
        ];
      }
      // import ./sandbox.nix {
        inherit lib privateInterfaces;
        privateNetworks = lib.concatMap (interface: interface.networks) (
          lib.attrValues cfg.privateInterfaces
        );
        bindsSource = lib.any (server: server.source != null) servers;
      };
    };
  };
}
