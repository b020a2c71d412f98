# The six lines that a host has to say, which the tests add to.
{ lib }:

rec {
  sixLines = {
    services.fiscalismia-lb = {
      enable = true;
      publicInterface = "enp1s0";
      privateInterfaces.enp7s0.networks = [ "172.24.0.0/23" ];
      routes.frontend.sni = [ "fiscalismia.com" ];
      routes.frontend.servers = [ "172.24.0.3:443" ];
    };
  };
  # With these options of the module besides.
  with' = options: lib.recursiveUpdate sixLines { services.fiscalismia-lb = options; };
  # What the assertions say.
  refused = config: map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
}
