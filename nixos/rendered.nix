# What the module makes of a configuration, as it is committed: `nixos/render` writes it, a check compares.
{ lib, config }:

let
  table = config.networking.nftables.tables.fiscalismia-lb;
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
  inherit (config.services.fiscalismia-lb) configuration;
  files = {
    "ruleset.nft" = "table ${table.family} ${table.name} {\n${table.content}}\n";
  }
  // textsOf (lib.hasPrefix "20-fiscalismia-lb-") config.systemd.network.units
  // textsOf (lib.hasPrefix "fiscalismia-lb") config.systemd.units;
}
