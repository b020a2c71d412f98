# What the module makes of a configuration, as it is committed: `nixos/render` writes it, a check compares.
{
  lib,
  config,
  optionsDoc,
  # Hosts by name, of which the firewall and keepalived's settings are wanted.
  pair,
  # A host whose routes have listeners of their own.
  listeners,
}:

let
  rulesetOf =
    config:
    let
      table = config.networking.nftables.tables.fiscalismia-lb;
    in
    "table ${table.family} fiscalismia-lb {\n${table.content}}\n";
  ofPair =
    name: config:
    let
      instance = config.services.keepalived.vrrpInstances.fiscalismia-lb;
      script = config.services.keepalived.vrrpScripts.fiscalismia-lb;
    in
    {
      "pair-${name}.nft" = rulesetOf config;
      "pair-${name}.json" =
        builtins.toJSON {
          # Without the programs that are told what happens, whose paths are NixOS's.
          instance = instance // {
            extraConfig = lib.concatStringsSep "\n" (
              lib.filter (line: !lib.hasPrefix "notify_" line) (lib.splitString "\n" instance.extraConfig)
            );
          };
          script = removeAttrs script [ "script" ];
        }
        + "\n";
    };
  textsOf =
    isWanted: units:
    lib.mapAttrs (_: unit: withoutTriggers unit.text) (lib.filterAttrs (name: _: isWanted name) units);
  # Hashes, which say to a switch what changed and to systemd nothing.
  withoutTriggers =
    text:
    lib.concatStringsSep "\n" (
      lib.filter (
        line: !lib.hasPrefix "X-Reload-Triggers=" line && !lib.hasPrefix "X-Restart-Triggers=" line
      ) (lib.splitString "\n" text)
    );
in
{
  # Without the path of the control socket, which is NixOS's.
  configuration = removeAttrs config.services.fiscalismia-lb.configuration [ "control" ];
  inherit optionsDoc;
  files = {
    "ruleset.nft" = rulesetOf config;
    "listeners.nft" = rulesetOf listeners;
  }
  // lib.concatMapAttrs ofPair pair
  // textsOf (lib.hasPrefix "20-fiscalismia-lb-") config.systemd.network.units
  // textsOf (lib.hasPrefix "fiscalismia-lb") config.systemd.units;
}
