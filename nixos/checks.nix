# What `nix flake check` builds beside the VM tests. What is wrong with the module shows already when these are evaluated.
{ pkgs, fiscalismia-lb }:

let
  inherit (pkgs) lib;

  bare = import ./tests/bare.nix {
    inherit pkgs;
    package = fiscalismia-lb;
  };
  evaluate = configuration: (bare configuration).config;
  inherit
    (bare {
      imports = [
        ./server.nix
        ./monitoring.nix
      ];
    })
    options
    ;
  # A path of strings, for "${pkgs.path}" copies nixpkgs into the store.
  deploymentWith =
    configuration:
    import (pkgs.path + "/nixos/lib/eval-config.nix") {
      system = null;
      modules = [
        ./module.nix
        ./fiscalismia.nix
        { services.fiscalismia-lb = configuration; }
        {
          nixpkgs.pkgs = pkgs;
          # What is rendered from it stays the same when a source file changes.
          services.fiscalismia-lb.package = {
            type = "derivation";
            name = fiscalismia-lb.pname;
            outPath = "${builtins.storeDir}/00000000000000000000000000000000-${fiscalismia-lb.pname}";
            inherit (fiscalismia-lb) meta;
          };
          system.stateVersion = lib.trivial.release;
          documentation.enable = false;
        }
      ];
    };
  deployment = deploymentWith { };

  # Empty when every test passes, else the throw says which did not, with what was expected and what came.
  passing =
    name: tests: passthru:
    let
      failures = lib.runTests tests;
      verdict = lib.throwIf (failures != [ ]) "${name}: ${lib.generators.toPretty { } failures}" "passed";
    in
    pkgs.runCommand name { inherit verdict passthru; } "touch $out";

  rendered = import ./rendered.nix {
    inherit lib;
    optionsDoc = import ./options-doc.nix { inherit lib pkgs options; };
    inherit (deployment) config;
    pair = lib.mapAttrs (_: evaluate) (import ./pair.nix);
    listeners = (deploymentWith (lib.importJSON ../vm-tests/listeners.json).configuration).config;
  };
in
{
  package = fiscalismia-lb;
  inherit (fiscalismia-lb) clippy fmt;
  tests = fiscalismia-lb.tests.all;
  nixfmt =
    let
      source = lib.fileset.toSource {
        root = ../.;
        fileset = lib.fileset.fileFilter (file: file.hasExt "nix") ../.;
      };
    in
    pkgs.runCommand "nixfmt" { nativeBuildInputs = [ pkgs.nixfmt ]; } ''
      find ${source} -name '*.nix' -exec nixfmt --check {} +
      touch $out
    '';
  module = passing "module" (import ./tests/module.nix {
    inherit lib evaluate;
    inherit options;
  }) { };
  hosts = passing "hosts" (import ./tests/hosts.nix { inherit lib evaluate; }) { };
  switch = passing "switch" (import ./tests/switch.nix {
    inherit lib pkgs evaluate;
    whole = deployment.config;
  }) { };
  refusals = passing "refusals" (import ./tests/refusals.nix { inherit lib evaluate; }) { };
  # `nixos/render` takes what it writes from here.
  rendered = passing "rendered" (import ./tests/rendered.nix { inherit lib rendered; }) {
    inherit rendered;
  };
}
