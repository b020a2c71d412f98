{
  description = "A host with fiscalismia-lb";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    fiscalismia-lb = {
      url = "github:fiscalismia/fiscalismia-lb";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    { nixpkgs, fiscalismia-lb, ... }:
    {
      nixosConfigurations.loadbalancer = nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          fiscalismia-lb.nixosModules.default
          ./loadbalancer.nix
          # What `nixos-generate-config` wrote: disks, the boot loader, hardware.
          ./hardware-configuration.nix
        ];
      };
    };
}
