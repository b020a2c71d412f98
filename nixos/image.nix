# The OCI image: the program and the libraries it loads, a layer each, no shell. Containerfile makes the same one without Nix.
# Either loads as fiscalismia-lb:latest and by its version: `podman load --input result`.
{
  lib,
  dockerTools,
  runCommand,
  fiscalismia-lb,
}:

let
  second = 1000000000;
  program = lib.getExe fiscalismia-lb;
  name = fiscalismia-lb.pname;
  image = dockerTools.buildLayeredImage {
    inherit name;
    tag = "latest";

    # Where Containerfile's image has it: the Quadlet, compose.yaml and `podman exec` name that path.
    extraCommands = ''
      mkdir bin
      ln -s ${program} bin/${name}
    '';

    config = {
      Entrypoint = [ program ];
      Cmd = [ "run" ];
      # An arbitrary unprivileged uid; port 443 needs --cap-add=NET_BIND_SERVICE.
      User = "65532:65532";
      ExposedPorts = {
        "443/tcp" = { };
        "80/tcp" = { };
      };
      # Asks 127.0.0.1:8404, which the configuration has to name under admin.listen.
      Healthcheck = {
        Test = [
          "CMD"
          program
          "health"
        ];
        Interval = 10 * second;
        Timeout = 5 * second;
        StartPeriod = 5 * second;
        Retries = 3;
      };
      StopSignal = "SIGTERM";
      Labels = {
        "org.opencontainers.image.title" = fiscalismia-lb.pname;
        "org.opencontainers.image.description" = fiscalismia-lb.meta.description;
        "org.opencontainers.image.version" = fiscalismia-lb.version;
        "org.opencontainers.image.source" = fiscalismia-lb.meta.homepage;
        "org.opencontainers.image.licenses" = fiscalismia-lb.meta.license.spdxId;
      };
    };
  };
in
# dockerTools gives an image one name.
runCommand "${name}.tar.gz" { inherit (image) imageName imageTag; } ''
  mkdir image
  tar --extract --gzip --file ${image} --directory image
  substituteInPlace image/manifest.json \
    --replace-fail '"${name}:latest"' '"${name}:latest", "${name}:${fiscalismia-lb.version}"'
  tar --create --directory image --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1 . | gzip --no-name >$out
''
