# What `nix flake check` builds beside the VM tests. What is wrong with the module shows already when these are evaluated.
{ pkgs, fiscalismia-lb }:

let
  inherit (pkgs) lib;

  evaluate = configuration: (evaluateWith configuration).config;
  evaluateWith =
    configuration:
    import "${pkgs.path}/nixos/lib/eval-config.nix" {
      system = null;
      modules = [
        ./module.nix
        configuration
        {
          nixpkgs.pkgs = pkgs;
          services.fiscalismia-lb.package = fiscalismia-lb;
          system.stateVersion = lib.trivial.release;
        }
      ];
    };

  # Empty when every test passes, else the throw says which did not, with what was expected and what came.
  passing =
    name: tests: passthru:
    let
      failures = lib.runTests tests;
      verdict = lib.throwIf (failures != [ ]) "${name}: ${lib.generators.toPretty { } failures}" "passed";
    in
    pkgs.runCommand name { inherit verdict passthru; } "touch $out";

  rendered = import ./rendered.nix (evaluate ./fiscalismia.nix);
in
{
  package = fiscalismia-lb;
  inherit (fiscalismia-lb) clippy fmt;
  module = passing "module" (import ./tests/module.nix {
    inherit lib evaluate;
    inherit (evaluateWith { }) options;
  }) { };
  refusals = passing "refusals" (import ./tests/refusals.nix { inherit lib evaluate; }) { };
  # `nixos/render` takes what it writes from here.
  rendered = passing "rendered" (import ./tests/rendered.nix { inherit lib rendered; }) {
    inherit rendered;
  };
}
