# What the module makes of a configuration, as it is committed: `nixos/render` writes it, a check compares.
config:

let
  table = config.networking.nftables.tables.fiscalismia-lb;
  networks = builtins.filter (name: builtins.match "20-fiscalismia-lb-.*" name != null) (
    builtins.attrNames config.systemd.network.units
  );
in
{
  inherit (config.services.fiscalismia-lb) configuration;
  files = {
    "ruleset.nft" = "table ${table.family} ${table.name} {\n${table.content}}\n";
  }
  // builtins.listToAttrs (
    map (name: {
      inherit name;
      value = config.systemd.network.units.${name}.text;
    }) networks
  );
}
