# The committed renderings of nixos/fiscalismia.nix, for whoever has no Nix: README, demo and lab. They are what the module makes.
{ lib, rendered }:

{
  testConfiguration = {
    expr = rendered.configuration;
    expected = lib.importJSON ../../examples/fiscalismia.json;
  };
  testOptions = {
    expr = rendered.optionsDoc;
    expected = lib.readFile ../../docs/options.md;
  };
  testFiles = {
    expr = rendered.files;
    expected = lib.genAttrs (lib.attrNames rendered.files) (name: lib.readFile ../rendered/${name});
  };
  testNoFileMore = {
    expr = lib.attrNames (builtins.readDir ../rendered);
    expected = lib.attrNames rendered.files;
  };
}
