# Every scenario of this directory as a VM test: NAME.nix says what the hosts have beside the topology, NAME.py what happens.
{ pkgs, packages }:

let
  inherit (pkgs) lib;
  scenarios = map (lib.removeSuffix ".py") (
    lib.filter (lib.hasSuffix ".py") (lib.attrNames (builtins.readDir ./.))
  );
  test =
    name:
    pkgs.testers.runNixOSTest {
      inherit name;
      imports = [
        ./shared/hosts.nix
        ./${name}.nix
      ];
      _module.args = { inherit packages; };
      testScript = lib.readFile ./shared/steps.py + lib.readFile ./${name}.py;
      globalTimeout = 1200;
    };
in
lib.genAttrs scenarios test
