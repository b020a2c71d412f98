{
  description = "fiscalismia-lb: a load balancer that routes TLS by SNI without decrypting it";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      forEachSystem =
        outputsOf:
        lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
          system: outputsOf nixpkgs.legacyPackages.${system} self.packages.${system}
        );
      app = description: program: {
        type = "app";
        inherit program;
        meta = { inherit description; };
      };
    in
    {
      packages = forEachSystem (
        pkgs: packages: {
          default = pkgs.callPackage ./nixos/package.nix { };
          fiscalismia-lb = packages.default;
          image = pkgs.callPackage ./nixos/image.nix { fiscalismia-lb = packages.default; };
        }
      );

      apps = forEachSystem (
        _: packages: {
          default = app "The load balancer" (lib.getExe packages.default);
          demo = app "The load balancer before TLS servers of its own, on loopback" (
            lib.getExe' packages.default.demo "demo"
          );
        }
      );

      overlays.default = final: _: { fiscalismia-lb = final.callPackage ./nixos/package.nix { }; };

      nixosModules = {
        default = ./nixos/module.nix;
        fiscalismia-lb = ./nixos/module.nix;
        # For the hosts around it: those of the servers, and the one that watches.
        server = ./nixos/server.nix;
        monitoring = ./nixos/monitoring.nix;
      };

      templates.default = {
        path = ./nixos/template;
        description = "A host with fiscalismia-lb";
      };

      checks = forEachSystem (
        pkgs: packages:
        import ./nixos/checks.nix {
          inherit pkgs;
          fiscalismia-lb = packages.default;
        }
        // import ./vm-tests { inherit pkgs packages; }
      );

      devShells = forEachSystem (
        pkgs: packages: {
          default = pkgs.mkShell {
            inputsFrom = [ packages.default ];
            packages = [
              pkgs.clippy
              pkgs.rustfmt
              pkgs.rust-analyzer
              pkgs.nginx
              pkgs.prometheus
              pkgs.nftables
            ];
          };
        }
      );

      formatter = forEachSystem (pkgs: _: pkgs.nixfmt-tree);
    };
}
