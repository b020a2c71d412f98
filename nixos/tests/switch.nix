# What a switch from one system to another does, which follows from the text of the units alone: nothing for the same, a reload
# where only the reload triggers differ, else a restart. switch-to-configuration-ng of nixpkgs, compare_units.
{
  lib,
  pkgs,
  evaluate,
  whole,
}:

let
  inherit (import ./six-lines.nix { inherit lib; }) with';
  base =
    with' {
      admin.address = "172.24.1.3:8404";
      admin.allowFrom = [ "172.24.0.2" ];
      statsCredentials.usernameFile = "/run/secrets/stats-username";
      statsCredentials.passwordFile = "/run/secrets/stats-password";
    }
    // {
      systemd.globalEnvironment = {
        TZDIR = "/etc/zoneinfo";
        LOCALE_ARCHIVE = "/run/current-system/sw/lib/locale/locale-archive";
      };
    };
  unitsOf =
    configuration:
    lib.mapAttrs (_: unit: unit.text) (
      lib.filterAttrs (name: _: lib.hasPrefix "fiscalismia-lb" name)
        (evaluate configuration).systemd.units
    );
  old = unitsOf base;

  # Keys of [Unit] that a switch does not look at.
  ignored = [
    "Description"
    "Documentation"
  ];
  linesOf =
    text:
    lib.filter (line: !lib.any (key: lib.hasPrefix "${key}=" line) ignored) (lib.splitString "\n" text);
  withoutReload = text: lib.filter (line: !lib.hasPrefix "X-Reload-Triggers=" line) (linesOf text);

  decision =
    name: text:
    if !old ? ${name} then
      "start"
    else if linesOf old.${name} == linesOf text then
      null
    else if withoutReload old.${name} == withoutReload text then
      "reload"
    # What runs stays as it is, and its keeper makes it anew.
    else if lib.hasSuffix ".socket" name then
      null
    else
      "restart";
  decisions =
    configuration:
    lib.filterAttrs (_: verdict: verdict != null) (lib.mapAttrs decision (unitsOf configuration));
  after = options: decisions (lib.recursiveUpdate base { services.fiscalismia-lb = options; });

  reload."fiscalismia-lb.service" = "reload";
  restart."fiscalismia-lb.service" = "restart";
in
{
  testTheSame = {
    expr = decisions base;
    expected = { };
  };
  testAnotherProgramOfTheHost = {
    expr = decisions (base // { services.openssh.enable = true; });
    expected = { };
  };
  testOtherZonesAndLocales = {
    expr = decisions (
      lib.recursiveUpdate base {
        systemd.globalEnvironment.TZDIR = "/nix/store/other-tzdata";
        systemd.globalEnvironment.LOCALE_ARCHIVE = "/nix/store/other-locales";
      }
    );
    expected = { };
  };
  # An operator would read it at every switch, and can do nothing about it.
  testNixosWarnsOfNothing = {
    expr = whole.warnings;
    expected = [ ];
  };
  # What NixOS as a whole puts into every unit.
  testNothingOfTheHostInTheUnit = {
    expr = lib.filter (lib.hasPrefix "Environment=") (
      lib.splitString "\n" whole.systemd.units."fiscalismia-lb.service".text
    );
    expected = [ ];
  };

  testAnotherRoute = {
    expr = after {
      routes.scraper = {
        sni = [ "fastapi.fiscalismia.com" ];
        servers = [ "172.24.0.4:443" ];
      };
    };
    expected = reload;
  };
  testAnotherServer = {
    expr = after {
      routes.frontend.servers = [
        "172.24.0.3:443"
        "172.24.0.4:8443"
      ];
    };
    expected = reload;
  };
  testAnotherTimeout = {
    expr = after { settings.timeouts.tunnel = "1m"; };
    expected = reload;
  };
  testAnotherFirewall = {
    expr = after { firewall.sshFrom = [ "172.24.1.2" ]; };
    expected = { };
  };

  testUpgrade = {
    expr = after {
      package = pkgs.symlinkJoin {
        name = "fiscalismia-lb-upgraded";
        paths = [ ];
        meta.mainProgram = "fiscalismia-lb";
      };
    };
    # The configuration is checked by the new program, and so another file.
    expected = restart;
  };
  testAnotherPrivateNetwork = {
    expr = after { privateInterfaces.enp8s0.networks = [ "172.20.0.0/23" ]; };
    expected = restart;
  };
  testOtherFilesOfTheCredentials = {
    expr = after { statsCredentials.passwordFile = "/run/secrets/password"; };
    expected = restart;
  };

  # The socket for TLS stays open, and the service, restarted with the keeper of the others, takes up who came meanwhile.
  testAnotherAdminPort = {
    expr = after { admin.address = "172.24.1.3:8405"; };
    expected = reload // {
      "fiscalismia-lb-other-sockets.service" = "restart";
    };
  };
  testOthersMayAskForMetrics = {
    expr = after { admin.allowFrom = [ "172.24.0.9" ]; };
    expected."fiscalismia-lb-other-sockets.service" = "restart";
  };
  testRedirect = {
    expr = after { redirect.enable = true; };
    expected = restart // {
      "fiscalismia-lb-http.socket" = "start";
      "fiscalismia-lb-other-sockets.service" = "restart";
    };
  };
  testTheServiceGoesWithItsSockets = {
    expr = lib.filter (lib.hasInfix "-sockets.service") (
      lib.splitString "\n" (old."fiscalismia-lb.service" + old."fiscalismia-lb-https.socket")
    );
    expected = [
      "PartOf=fiscalismia-lb-other-sockets.service"
      "PartOf=fiscalismia-lb-sockets.service"
    ];
  };
  testOtherAddressesForTls = {
    expr = after { settings.listen = [ "203.0.113.10:443" ]; };
    expected = reload // {
      "fiscalismia-lb-sockets.service" = "restart";
    };
  };
}
