{
  lib,
  stdenv,
  rustPlatform,
  clippy,
  rustfmt,
  curl,
  haproxy,
  iproute2,
  nginx,
  openssl,
  strace,
  util-linux,
}:

let
  manifest = lib.importTOML ../Cargo.toml;
  # What cargo reads; a change of documentation or of a Nix file builds nothing anew.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions (
      [
        ../Cargo.toml
        ../Cargo.lock
        ../clippy.toml
        ../rustfmt.toml
        ../src
      ]
      ++ map lib.fileset.maybeMissing [
        ../README.md
        ../benches
        ../docs
        ../examples
        ../fuzz
        ../grafana
        ../tests
      ]
    );
  };

  package = rustPlatform.buildRustPackage {
    pname = manifest.package.name;
    inherit (manifest.package) version;
    inherit src;
    cargoLock.lockFile = ../Cargo.lock;
    # `fiscalismia-lb top` takes keys.
    buildFeatures = [ "top" ];
    # All symbols: nixpkgs strips debugging ones only, and tells cargo to leave them.
    stripAllList = [ "bin" ];
    # Man pages, and completions for bash, zsh and fish, out of the program's own command line.
    postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
      cargo run --offline --profile tests --target ${stdenv.hostPlatform.rust.rustcTargetSpec} --example manual -- $out
    '';

    # What no machine is too slow for, with the program that is installed; `tests.all` is the rest.
    checkType = "tests";
    cargoTestFlags = [
      "--lib"
      "--test=cli"
      "--test=cli_errors"
      "--test=fuzz_corpus"
    ];
    preCheck = ''
      export LB_PROGRAM=$(echo $PWD/target/*/release/${manifest.package.name})
    '';

    passthru = {
      # The example program: servers, certificates and the load balancer before them, on loopback.
      demo = package.overrideAttrs (old: {
        pname = "${old.pname}-demo";
        cargoBuildFlags = [ "--example=demo" ];
        doCheck = false;
        postInstall = "";
        installPhase = ''
          runHook preInstall
          install -D target/*/release/examples/demo --target-directory $out/bin
          runHook postInstall
        '';
      });
      # All tests, with the package's program between real peers, on hosts of their own in user namespaces.
      tests.all = package.overrideAttrs (old: {
        pname = "${old.pname}-tests";
        nativeCheckInputs = [
          curl
          haproxy
          iproute2
          nginx
          openssl
          strace
          util-linux
        ];
        buildPhase = "true";
        cargoTestFlags = [ ];
        LB_PROGRAM = lib.getExe package;
        preCheck = null;
        # Nothing may be left out but what needs a browser, a Prometheus, an ACME authority, systemd's own tool, or the tree whole.
        REQUIRE_PEERS = 1;
        checkFlags = map (test: "--skip=${test}") [
          "certificates_are_issued"
          "chromium"
          "prometheus"
          "promtool"
          "started_by_the_first_client"
          "links_lead_somewhere"
          "named_files_are_there"
          "versions_are_those_of_the_manifest"
        ];
        installPhase = "touch $out";
      });
      clippy = package.overrideAttrs (old: {
        pname = "${old.pname}-clippy";
        nativeBuildInputs = old.nativeBuildInputs ++ [ clippy ];
        buildPhase = "cargo clippy --offline --all-targets -- --deny warnings";
        doCheck = false;
        installPhase = "touch $out";
      });
      fmt = package.overrideAttrs (old: {
        pname = "${old.pname}-fmt";
        nativeBuildInputs = old.nativeBuildInputs ++ [ rustfmt ];
        buildPhase = "cargo fmt --check";
        doCheck = false;
        installPhase = "touch $out";
      });
    };

    meta = {
      inherit (manifest.package) description;
      homepage = manifest.package.repository;
      changelog = "${manifest.package.repository}/blob/v${manifest.package.version}/CHANGELOG.md";
      license = lib.licenses.mit;
      mainProgram = manifest.package.name;
      maintainers = [
        {
          name = "Fiscalismia";
          github = "fiscalismia";
        }
      ];
      platforms = lib.platforms.linux;
    };
  };
in
package
