#!/bin/sh
# Unpacks HAProxy of a newer Debian suite with the libraries it wants, without installing anything:
#   unpack-haproxy.sh DIR [SUITE]
# leaves DIR/haproxy, for `compare --peer haproxy=/usr/sbin/haproxy --peer haproxy=DIR/haproxy`.
# Needs curl, xz, dpkg-deb and patchelf.
set -eu
dir=${1:?usage: unpack-haproxy.sh DIR [SUITE]}
suite=${2:-forky}
mirror=https://deb.debian.org/debian
mkdir -p "$dir/root"
dir=$(cd "$dir" && pwd)

curl -fsS "$mirror/dists/$suite/main/binary-amd64/Packages.xz" | xz -dc >"$dir/packages"
for package in haproxy libc6 libcrypt1 libjemalloc2 liblua5.4-0 libopentracing-c-wrapper0t64 libpcre2-8-0 \
    libssl3t64 zlib1g libzstd1 libgcc-s1 libstdc++6; do
    awk -v name="$package" '
        $1 == "Package:" { found = ($2 == name) }
        found && $1 == "Filename:" { file = $2 }
        found && $1 == "SHA256:" { print $2, file; exit }' "$dir/packages" >"$dir/wanted"
    read -r sum file <"$dir/wanted"
    curl -fsS -o "$dir/deb" "$mirror/$file"
    echo "$sum  $dir/deb" | sha256sum --check --quiet
    dpkg-deb -x "$dir/deb" "$dir/root"
done
rm "$dir/packages" "$dir/wanted" "$dir/deb"

libraries=$dir/root/usr/lib/x86_64-linux-gnu
cp "$dir/root/usr/sbin/haproxy" "$dir/haproxy"
patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$libraries" "$dir/haproxy"
"$dir/haproxy" -v | head -n 1
