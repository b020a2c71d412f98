# docs/options.md, out of what the options say of themselves.
{
  lib,
  pkgs,
  options,
}:

let
  documented =
    (pkgs.nixosOptionsDoc {
      inherit options;
      warningsAreErrors = false;
      # Paths of the store would change with every commit.
      transformOptions = option: option // { declarations = [ ]; };
    }).optionsNix;
  shown = lib.filterAttrs (name: _: lib.hasPrefix "services.fiscalismia-lb" name) documented;

  plain = lib.replaceStrings [ "{option}" "{manpage}" ] [ "" "" ];
  # `text` of a literal, or what is meant as Markdown, on one line or as a block.
  value =
    word: literal:
    let
      text = lib.trim literal.text;
    in
    if literal._type or "" == "literalMD" then
      "${word}: ${plain text}\n\n"
    else if lib.hasInfix "\n" text then
      "${word}:\n\n```nix\n${text}\n```\n\n"
    else
      "${word}: `${text}`\n\n";
  section =
    name: option:
    ''
      ## `${name}`

      ${lib.trim (plain option.description)}

      Type: ${option.type}

    ''
    + lib.optionalString (option ? default) (value "Default" option.default)
    + lib.optionalString (option ? example) (value "Example" option.example);
in
''
  # Options for NixOS

  Of `nixosModules.default` (`services.fiscalismia-lb`), `nixosModules.server` (`services.fiscalismia-lb.server`) and
  `nixosModules.monitoring` (`services.fiscalismia-lb.monitoring`). `nixos/render` writes this page; what the options are for is in
  [nixos.md](nixos.md).

''
+ lib.concatStrings (lib.mapAttrsToList section shown)
