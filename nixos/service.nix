# The service and its sandbox.
{
  config,
  lib,
  pkgs,
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

  stop = pkgs.writeShellApplication {
    name = "fiscalismia-lb-stop";
    runtimeInputs = [
      config.systemd.package
      pkgs.coreutils
      pkgs.gnugrep
    ];
    text = lib.removePrefix "#!/usr/bin/env bash\n" (lib.readFile ./stop);
  };

  servers = lib.concatMap (route: route.servers) (lib.attrValues cfg.routes);
  # Servers on this host are reached by its loopback interface, at whatever address of its own. The networks and not the servers
  # are named, so that one server more is a reload.
  local =
    let
      named = map (server: (addresses.parseEndpoint server.address).address) servers;
    in
    lib.optional (lib.any addresses.isLoopback named) "localhost"
    ++ lib.filter (address: lib.elem address cfg.publicAddresses) (lib.unique named);
in
{
  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    # Fixed paths, for a store path in the unit would make each change of the configuration, or of systemd, a restart.
    environment.etc.${configPath}.source = checkedConfigFile;
    environment.etc."fiscalismia-lb/stop".source = lib.getExe stop;

    # A server that the first probe cannot reach for want of a carrier would be down for `rise` probes. Ordered, and not wanted by
    # the service: a restart beside a link that is gone would wait for it anew. Said here, for NixOS warns of the like there.
    systemd.targets.network-online = {
      wantedBy = [ "multi-user.target" ];
      before = [ "fiscalismia-lb.service" ];
    };
    systemd.services.fiscalismia-lb = {
      description = "TLS load balancer that routes by SNI";
      documentation = [ "https://github.com/fiscalismia/fiscalismia-lb" ];
      wantedBy = [ "multi-user.target" ];
      reloadTriggers = [ checkedConfigFile ];
      # Stopped and started in two steps, a switch would close the sockets in between.
      stopIfChanged = false;
      startLimitIntervalSec = 0;
      # It starts no program and knows no language, and an update of what NixOS puts here would restart it.
      path = lib.mkForce [ ];
      environment = {
        LOCALE_ARCHIVE = null;
        TZDIR = null;
      };

      serviceConfig = {
        Type = "notify-reload";
        ExecStart = "${lib.getExe cfg.package} run --config /etc/${configPath}";
        # With all rights, for it asks the manager.
        ExecStop = "+/etc/fiscalismia-lb/stop";
        WatchdogSec = "10s";
        # What the lines of connections come to is `log.connections`' to say; dropped ones would take those of troubles along.
        LogRateLimitIntervalSec = 0;
        Restart = "always";
        # Not RestartSteps, which counts for as long as the unit is there: a crash a month would end at the longest delay.
        # systemd's timer is up to 250 ms late, and a busy machine starts the service in as long: clients wait less than 1 s.
        RestartSec = "250ms";
        # A restart hands the open connections to the next process.
        FileDescriptorStoreMax = 1;
        FileDescriptorStorePreserve = "restart";
        # The program ends by itself when `timeouts.drain` is over; this is for one that does not.
        TimeoutStopSec = "10min";
      }
      // lib.optionalAttrs (cfg.statsCredentials.usernameFile != null) {
        LoadCredential = [
          "stats-username:${cfg.statsCredentials.usernameFile}"
          "stats-password:${cfg.statsCredentials.passwordFile}"
        ];
        # What is taken where a file is missing, for without it the service would not start: an empty line, with which /stats
        # answers nobody. Nothing at all would be no credential to systemd.
        SetCredential = [
          "stats-username:\\n"
          "stats-password:\\n"
        ];
      }
      // lib.optionalAttrs (lib.versionAtLeast config.systemd.package.version "258") {
        RefreshOnReload = "credentials";
      }
      // import ./sandbox.nix {
        inherit lib;
        networks =
          lib.concatMap (interface: interface.networks) (lib.attrValues cfg.privateInterfaces) ++ local;
        bindsSource = lib.any (server: server.source != null) servers;
      };
    };
  };
}
