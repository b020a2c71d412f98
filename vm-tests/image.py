# NixOS only: the image under Podman (nixos/test-podman runs the Containerfile's).
start_all()
for server in (demo, frontend, backend, monitoring):
    server.wait_for_unit("nginx.service")
loadbalancer.wait_for_unit("multi-user.target")

with subtest("the image starts read-only, without capabilities but one"):
    loadbalancer.succeed("podman load --input /etc/image.tar.gz")
    loadbalancer.succeed(
        "podman run --detach --name lb --network host --read-only --cap-drop=all --cap-add=NET_BIND_SERVICE"
        " --security-opt=no-new-privileges --volume /etc/fiscalismia-lb:/etc/fiscalismia-lb:ro"
        " --env STATS_USERNAME=operator --env STATS_PASSWORD=secret $(podman images --quiet)"
    )
    client.wait_until_succeeds(ask("fiscalismia.com"), timeout=60)

with subtest("it serves the same routes"):
    for name, address in ROUTES.items():
        t.assertEqual(answer(name, f"--interface {CLIENT}")["server"], address)
        t.assertEqual(answer(name, f"--interface {CLIENT}")["forwarded_for"], CLIENT)

with subtest("it has no shell"):
    loadbalancer.fail("podman exec lb /bin/sh -c true")

with subtest("its health check passes, its log shows the connections"):
    loadbalancer.succeed("podman healthcheck run lb")
    # The path that the Quadlet, compose.yaml and docs/containers.md name, in this image as in Containerfile's.
    loadbalancer.succeed("podman exec lb /bin/fiscalismia-lb check")
    t.assertRegex(loadbalancer.succeed("podman logs lb"), r" https_ingress frontend/172\.24\.0\.3:443 CONNECT ")

with subtest("it ends by itself when told to"):
    loadbalancer.succeed("podman stop --time 20 lb")
    t.assertEqual(loadbalancer.succeed("podman inspect --format '{{.State.ExitCode}}' lb").strip(), "0")
