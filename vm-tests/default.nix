# The scenarios of this directory as VM tests: NAME.py says what happens. Those that need no hosts of their own are one test, for
# its hosts take longer to evaluate and to boot than the scripts to run.
{ pkgs, packages }:

let
  inherit (pkgs) lib;
  # What NAME.nix adds to the hosts, and which of them the scenario asks for beside the load balancer, its clients and servers.
  tests = {
    deployment = {
      scenarios = [
        "routing"
        "monitoring"
        "isolation"
        "hardening"
        "balancer"
      ];
      others = [
        "balancer"
        "bastion"
        "natgateway"
        "second"
        "sentinel"
      ];
      imports = [
        ./balancer.nix
        ./isolation.nix
      ];
    };
  }
  // {
    listeners = {
      scenarios = [ "listeners" ];
      others = [ "database" ];
      imports = [ ./listeners.nix ];
    };
  }
  //
    lib.mapAttrs
      (_: scenarios: {
        inherit scenarios;
        others = [ ];
        imports = map (name: ./${name}.nix) scenarios;
      })
      {
        changes = [
          "health"
          "reload"
        ];
        image = [ "image" ];
      };

  # A scenario's names are its own.
  scenario = name: ''
    def scenario_${name}() -> None:
    ${lib.concatMapStringsSep "\n" (line: lib.optionalString (line != "") "    ${line}") (
      lib.splitString "\n" (lib.readFile ./${name}.py)
    )}

    with subtest("${name}"):
        scenario_${name}()

  '';
in
lib.mapAttrs (
  name:
  {
    scenarios,
    others,
    imports ? [ ],
  }:
  pkgs.testers.runNixOSTest {
    inherit name;
    imports = [ ./shared/hosts.nix ] ++ imports;
    _module.args = {
      inherit packages;
      hosts = others ++ [
        "backend"
        "client"
        "demo"
        "frontend"
        "loadbalancer"
        "monitoring"
      ];
    };
    testScript = lib.readFile ./shared/steps.py + lib.concatMapStrings scenario scenarios;
    globalTimeout = 1800;
  }
) tests
// {
  failover = pkgs.testers.runNixOSTest {
    name = "failover";
    imports = [ ./failover.nix ];
    _module.args = { inherit packages; };
    testScript = lib.readFile ./failover.py;
    globalTimeout = 900;
  };
}
