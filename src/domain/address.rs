//! Addresses that something may be sent to: by `https`, or by `http` to this machine, and never else in the
//! clear.

use std::net::IpAddr;

/// What such an address leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafeAddress {
    /// The name or the number of the host, without brackets.
    pub host: String,
    /// The port, that of the scheme where none is given.
    pub port: u16,
    /// Whether by TLS.
    pub is_secure: bool,
}

impl SafeAddress {
    /// The address, if it is whole, carries no login, and nothing is sent in the clear by it.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || authority.contains('@') {
            return None;
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let is_secure = match scheme {
            "https" => true,
            "http" if is_this_machine(host) => false,
            _ => return None,
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if port.is_empty() => {
                if is_secure {
                    443
                } else {
                    80
                }
            }
            None => return None,
        };
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, is_secure })
    }
}

/// Whether a host is this machine itself.
pub fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_in_the_clear() {
        let of = |text: &str| SafeAddress::parse(text).map(|it| (it.host, it.port, it.is_secure));
        let here = |host: &str, port, is_secure| Some((host.to_owned(), port, is_secure));
        assert_eq!(of("https://a.example/b?c"), here("a.example", 443, true));
        assert_eq!(of("https://a.example:8443"), here("a.example", 8443, true));
        assert_eq!(of("https://[2001:db8::1]:8443/"), here("2001:db8::1", 8443, true));
        assert_eq!(of("http://127.0.0.1:9/x"), here("127.0.0.1", 9, false));
        assert_eq!(of("http://[::1]:9/x"), here("::1", 9, false));
        assert_eq!(of("http://localhost"), here("localhost", 80, false));
        for text in [
            "",
            "a.example",
            "/path",
            "http://a.example",
            "http://127.0.0.1.a.example",
            "ftp://a.example",
            "https://",
            "https://:1",
            "https://u:p@a.example",
            "https://a b",
            "https://a:x",
            "https://a:",
            "https://a:65536",
            "https://[::1",
            "https://[::1]x",
            "https://a\n",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
