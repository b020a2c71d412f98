use super::*;

fn head(bytes: &str) -> Head<'_> {
    match read(bytes.as_bytes()) {
        Verdict::Head(head) => head,
        verdict => panic!("{bytes:?}: {verdict:?}"),
    }
}

/// Where `GET target` with `Host: host` is sent to.
fn location(target: &str, host: &str) -> Option<String> {
    redirect_location(&head(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")))
}

fn fault(bytes: &str) -> &'static str {
    match read(bytes.as_bytes()) {
        Verdict::Malformed(why) => why,
        verdict => panic!("{bytes:?}: {verdict:?}"),
    }
}

/// Without this, an endpoint sees another method, target or host, or the next request's bytes change them.
#[test]
fn a_head_is_read() {
    let bytes = "GET /stats;csv?x=1 HTTP/1.1\r\nhost:lb:8404\r\nAUTHORIZATION: Basic YTpi\t \r\n\r\n";
    let expected = Head {
        method: "GET",
        path: "/stats;csv?x=1",
        host: Some("lb"),
        authorization: Some(b"Basic YTpi"),
        minor_version: 1,
        len: bytes.len(),
    };
    assert_eq!(head(bytes), expected);
    assert_eq!(head(&format!("{bytes}GET /")), expected);
    let old = head("HEAD /health HTTP/1.0\r\n\r\n");
    assert_eq!((old.method, old.host, old.authorization, old.minor_version), ("HEAD", None, None, 0));
}

/// Without this, a head that comes in pieces is refused instead of awaited.
#[test]
fn every_prefix_is_incomplete() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    for end in 0..bytes.len() {
        assert_eq!(read(&bytes[..end]), Verdict::Incomplete, "{end}");
    }
}

/// Without this, a head over 8 KiB, or with more fields than clients send, takes memory instead of a status 431.
#[test]
fn long_heads_are_refused() {
    let of_len = |len: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(len - frame))
    };
    assert_eq!(head(&of_len(8192)).len, 8192);
    assert_eq!(read(of_len(8193).as_bytes()), Verdict::TooLong);
    assert_eq!(read(&of_len(8193).as_bytes()[..8192]), Verdict::TooLong);
    assert_eq!(read(&[b'a'; 8191]), Verdict::Incomplete);
    let fields = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(n - 1));
    head(&fields(MAX_FIELDS));
    assert_eq!(read(fields(MAX_FIELDS + 1).as_bytes()), Verdict::TooManyFields);
}

/// Without this, proxy and server may read two different requests from one head (RFC 9112).
#[test]
fn ambiguous_heads_are_refused() {
    assert_eq!(fault("GET / HTTP/1.1\r\n\r\n"), "no Host");
    assert_eq!(fault("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), "more than one Host");
    assert_eq!(fault("GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "more than one Host");
    let twice = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n";
    assert_eq!(fault(twice), "more than one Authorization");
    for bytes in [
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
    ] {
        assert_eq!(fault(bytes), "not a request of HTTP/1.0 or 1.1", "{bytes:?}");
    }
}

/// Without this, one of the four forms of a target (RFC 9112 section 3.2) is refused, or another form is taken.
#[test]
fn targets() {
    let of = |line: &str| {
        let text = format!("{line} HTTP/1.1\r\nHost: field\r\n\r\n");
        match read(text.as_bytes()) {
            Verdict::Head(head) => Ok((head.path.to_owned(), head.host.map(str::to_owned))),
            Verdict::Malformed(why) => Err(why),
            verdict => panic!("{verdict:?}"),
        }
    };
    let found = |path: &str, host: &str| Ok((path.to_owned(), Some(host.to_owned())));
    assert_eq!(of("GET /a?b"), found("/a?b", "field"));
    assert_eq!(of("GET /go?to=http://x/"), found("/go?to=http://x/", "field"));
    assert_eq!(of("OPTIONS *"), found("*", "field"));
    assert_eq!(of("CONNECT a:443"), found("a:443", "field"));
    assert_eq!(of("GET HTTP://target:80/a?b"), found("/a?b", "target"));
    assert_eq!(of("GET http://target"), found("/", "target"));
    assert_eq!(of("GET http://target?b"), found("?b", "target"));
    for target in ["a", "?a", "ftp://a/", "//", "a:443"] {
        let expected = if target == "//" { found("//", "field") } else { Err("the target is malformed") };
        assert_eq!(of(&format!("GET {target}")), expected);
    }
    for target in ["http:///a", "http://user@a/", "http://a:b/", "https://[::1/"] {
        assert_eq!(of(&format!("GET {target}")), Err("the target's host is malformed"));
    }
    for target in ["/\"", "/<script>", "/#a", "/b\u{fc}cher", "/a\u{85}"] {
        assert_eq!(of(&format!("GET {target}")), Err("the target has a byte that no target can have"));
    }
}

/// Without this, a redirect loses host, path or query, or keeps the port of plain HTTP.
#[test]
fn redirects_go_to_the_same_place_on_tls() {
    let to = |text: &str| Some(text.to_owned());
    assert_eq!(location("/a/b?c=d&e", "demo.fiscalismia.com"), to("https://demo.fiscalismia.com/a/b?c=d&e"));
    assert_eq!(location("/", "Demo.Example.:80"), to("https://Demo.Example./"));
    assert_eq!(location("/", "a_b.example:"), to("https://a_b.example/"));
    assert_eq!(location("/", "192.0.2.1:8080"), to("https://192.0.2.1/"));
    assert_eq!(location("/x", "[2001:db8::1]:8080"), to("https://[2001:db8::1]/x"));
    assert_eq!(location("/x", "[2001:db8::]:8080"), to("https://[2001:db8::]/x"));
    assert_eq!(location("//evil.example/", "a"), to("https://a//evil.example/"));
    assert_eq!(location("http://b?c", "a"), to("https://b?c"));
    assert_eq!(location("/", &"a".repeat(254)), to(&format!("https://{}/", "a".repeat(254))));
}

/// Without this, a redirect reflects an unusable host or path instead of answering 400.
#[test]
fn redirects_reflect_nothing_unchecked() {
    assert_eq!(location("/", ""), None);
    assert_eq!(location("*", "a"), None);
    assert_eq!(redirect_location(&head("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n")), None);
    assert_eq!(redirect_location(&head("GET / HTTP/1.0\r\n\r\n")), None);
    for host in [
        ":80",
        "a b",
        "a/b",
        "a@b",
        "a:b",
        "a:1:2",
        "::1",
        "[::1",
        "[::1]a",
        "[::1%25eth0]",
        "[a]",
        "[]",
        "a]",
        "a%41",
        "a,b",
        "b\u{fc}cher",
        "a[::1]",
    ] {
        assert_eq!(fault(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), "the Host is malformed", "{host:?}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(255));
    assert_eq!(fault(&long), "the Host is malformed");
}
