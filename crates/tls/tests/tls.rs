//! Certificates that are right and wrong, and files that change under a running process.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use saga_tls::{
    Certificate, Choices, ClientAuth, Files, Tls, Unnamed,
    development::{Authority, Issued, Request},
    presented,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const SERVER: &str = "spiffe://saga/saga/server";
const CLIENT: &str = "spiffe://saga/saga/orchestrator";
const HOUR: Duration = Duration::from_secs(3_600);

struct Place {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::new().expect("an authority");
        authority.write(&dir.path().join("ca.pem")).expect("written");
        Self { dir, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn issue(&self, request: &Request<'_>) -> Issued {
        self.authority.issue(request).expect("issued")
    }

    /// Writes a certificate into a directory of its own, and returns the files with it.
    fn files(&self, name: &str, issued: &Issued) -> Files {
        let dir = self.path(name);
        fs::create_dir_all(&dir).expect("made");
        issued.write(&dir).expect("written");
        Files {
            certificate: Some(dir.join("tls.crt")),
            key: Some(dir.join("tls.key")),
            client_ca: Some(self.path("ca.pem")),
            ca: Some(self.path("ca.pem")),
            crl: None,
        }
    }

    fn server(&self) -> Files {
        self.files("server", &self.issue(&Request::new(&["here"], &[SERVER])))
    }

    /// The files of a client, whose certificate is not checked before it is presented.
    fn client(&self, name: &str, issued: &Issued) -> Tls {
        let files = Files { client_ca: None, ..self.files(name, issued) };
        Tls::open(files, Choices::default()).expect("a client's files")
    }
}

fn require() -> Choices {
    Choices { client_auth: ClientAuth::Require, ..Choices::default() }
}

/// Does a handshake, and exchanges a byte, because a client of TLS 1.3 learns of a refusal only
/// when it reads. Returns what the server knows of the client.
async fn meet(
    server: &Tls,
    client: &Tls,
    host: &str,
) -> io::Result<Option<Result<Certificate, Unnamed>>> {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let serving = async {
        let mut stream = server.accept::<DuplexStream>(there).await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        Ok::<_, io::Error>((presented(&stream), stream))
    };
    let calling = async {
        let mut stream = client.connect(host, here, true).await?;
        stream.read_u8().await?;
        Ok::<_, io::Error>(stream)
    };
    let (served, called) = tokio::join!(serving, calling);
    called?;
    served.map(|(who, _)| who)
}

#[tokio::test]
async fn a_client_is_known_by_the_only_uri_of_its_certificate() {
    let place = Place::new();
    let server = Tls::open(place.server(), require()).expect("right");
    let client = place.client("client", &place.issue(&Request::new(&[], &[CLIENT])));
    let who = meet(&server, &client, "here").await.expect("a handshake");
    assert_eq!(who.expect("presented").expect("named").uri, CLIENT);
}

#[tokio::test]
async fn a_certificate_with_no_uri_or_two_or_only_a_name_identifies_nobody() {
    let place = Place::new();
    let server = Tls::open(place.server(), require()).expect("right");
    let two = [CLIENT, "spiffe://other/one"];
    for (name, uris, common_name) in
        [("none", &two[..0], "x"), ("two", &two[..], "x"), ("name", &two[..0], CLIENT)]
    {
        let issued = place.issue(&Request { common_name, ..Request::new(&["here"], uris) });
        let who = meet(&server, &place.client(name, &issued), "here").await;
        assert_eq!(who.expect("a handshake").expect("presented"), Err(Unnamed), "{name}");
    }
}

#[tokio::test]
async fn an_uri_with_a_nul_or_a_space_identifies_nobody() {
    let place = Place::new();
    let server = Tls::open(place.server(), require()).expect("right");
    for (name, uri) in [("nul", "spiffe://saga/saga/orchestrator\0x"), ("space", "spiffe://s x")] {
        let issued = place.issue(&Request::new(&[], &[uri]));
        let who = meet(&server, &place.client(name, &issued), "here").await;
        assert_eq!(who.expect("a handshake").expect("presented"), Err(Unnamed), "{name}");
    }
}

#[tokio::test]
async fn certificates_that_are_not_right_end_the_handshake() {
    let place = Place::new();
    let server = Tls::open(place.server(), require()).expect("right");
    let now = SystemTime::now();
    let usual = Request::new(&[], &[CLIENT]);
    let early = Request { valid: (now + HOUR, now + HOUR * 2), ..usual.clone() };
    let only_servers = Request { for_clients: false, ..usual.clone() };
    let stranger = Authority::new().expect("another authority");
    for (name, issued) in [
        ("not yet", place.issue(&early)),
        ("only for servers", place.issue(&only_servers)),
        ("another authority", stranger.issue(&usual).expect("issued")),
    ] {
        let met = meet(&server, &place.client(name, &issued), "here").await;
        assert!(met.is_err(), "{name}: {met:?}");
    }
    let nobody = Files { ca: Some(place.path("ca.pem")), ..Files::default() };
    let nobody = Tls::open(nobody, Choices::default()).expect("right");
    assert!(meet(&server, &nobody, "here").await.is_err(), "no certificate");
    let asking = Tls::open(place.server(), Choices::default()).expect("right");
    assert_eq!(meet(&asking, &nobody, "here").await.expect("only asked"), None);
}

#[tokio::test]
async fn a_withdrawn_certificate_ends_the_handshake_and_others_do_not() {
    let place = Place::new();
    let (bad, good) =
        (place.issue(&Request::new(&[], &[CLIENT])), place.issue(&Request::new(&[], &[CLIENT])));
    fs::write(place.path("crl.pem"), place.authority.withdraw(&[bad.serial]).expect("signed"))
        .expect("written");
    let files = Files { crl: Some(place.path("crl.pem")), ..place.server() };
    let server = Tls::open(files, require()).expect("right");
    assert!(meet(&server, &place.client("bad", &bad), "here").await.is_err());
    assert!(meet(&server, &place.client("good", &good), "here").await.is_ok());
}

#[tokio::test]
async fn a_client_trusts_only_its_authority_and_only_the_host_that_it_asked_for() {
    let place = Place::new();
    let server = Tls::open(place.server(), Choices::default()).expect("right");
    let client = place.client("client", &place.issue(&Request::new(&[], &[CLIENT])));
    assert!(meet(&server, &client, "here").await.is_ok());
    assert!(meet(&server, &client, "elsewhere").await.is_err(), "another host");
    let elsewhere = Place::new();
    let nobody = Tls::open(Files::default(), Choices::default()).expect("right");
    let other = Files { ca: Some(elsewhere.path("ca.pem")), ..Files::default() };
    let other = Tls::open(other, Choices::default()).expect("right");
    assert!(meet(&server, &nobody, "here").await.is_err(), "trusts nobody");
    assert!(meet(&server, &other, "here").await.is_err(), "trusts another authority");
}

#[tokio::test]
async fn a_client_without_h2_is_refused() {
    let place = Place::new();
    let server = Tls::open(place.server(), Choices::default()).expect("right");
    let client = place.client("client", &place.issue(&Request::new(&[], &[CLIENT])));
    let (here, there) = tokio::io::duplex(64 * 1024);
    let (served, _) = tokio::join!(server.accept(there), client.connect("here", here, false));
    let refused = served.map(drop).expect_err("no protocol was offered");
    assert!(refused.to_string().contains("h2"), "{refused}");
}

fn refusal(files: Files) -> String {
    Tls::open(files, require()).map(drop).expect_err("not right").to_string()
}

#[test]
fn files_that_are_not_right_are_refused_and_named() {
    let place = Place::new();
    let now = SystemTime::now();
    let right = place.server();
    let other = place.files("other", &place.issue(&Request::new(&["here"], &[])));
    let past = Request { valid: (now - HOUR * 2, now - HOUR), ..Request::new(&["here"], &[]) };
    let stranger = Authority::new().expect("another authority");
    let foreign = stranger.issue(&Request::new(&["here"], &[])).expect("issued");
    let cut = place.issue(&Request::new(&["here"], &[]));
    let cut = Issued { certificate: cut.certificate[..200].to_owned(), ..cut };
    let open = place.files("open", &place.issue(&Request::new(&["here"], &[])));
    make_open(open.key.as_deref().expect("a key"));
    for (why, files) in [
        ("do not fit together", Files { key: other.key.clone(), ..right.clone() }),
        ("has expired", place.files("past", &place.issue(&past))),
        ("is not of the CA", place.files("foreign", &foreign)),
        ("cut/tls.crt", place.files("cut", &cut)),
        ("can be read by others", open),
        ("belong together", Files { key: None, ..right.clone() }),
        ("cannot be read", Files { ca: Some(place.path("nowhere")), ..right.clone() }),
        ("no authority for them", Files { client_ca: None, ..right.clone() }),
        ("holds no private key", Files { key: right.certificate.clone(), ..right.clone() }),
    ] {
        let said = match why {
            // The certificate's file may be read by everybody, which is said first.
            "holds no private key" => {
                let choices = Choices { open_keys: true, ..require() };
                Tls::open(files, choices).map(drop).expect_err("no key").to_string()
            }
            _ => refusal(files),
        };
        assert!(said.contains(why), "{why}: {said}");
    }
    Tls::open(right, require()).expect("right");
}

fn make_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("changed");
}

#[tokio::test]
async fn a_new_certificate_is_used_and_a_bad_one_leaves_the_old_in_use() {
    let place = Place::new();
    let files = place.server();
    let server = Tls::open(files.clone(), Choices::default()).expect("right");
    tokio::spawn(server.clone().keep_current(Duration::from_millis(20)));
    let client = place.client("client", &place.issue(&Request::new(&[], &[CLIENT])));
    assert!(meet(&server, &client, "renamed").await.is_err());
    place.files("server", &place.issue(&Request::new(&["here", "renamed"], &[SERVER])));
    until(&server, &client, "renamed").await;
    // Half a change: the files do not fit together.
    let next = place.issue(&Request::new(&["here", "late"], &[SERVER]));
    fs::write(place.path("server/tls.crt"), &next.certificate).expect("written");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(meet(&server, &client, "renamed").await.is_ok(), "the old pair is in use");
    assert!(server.reload().is_err(), "half a change is not right");
    assert!(meet(&server, &client, "renamed").await.is_ok(), "the old pair is still in use");
    // The other half.
    next.write(&place.path("server")).expect("written");
    until(&server, &client, "late").await;
}

async fn until(server: &Tls, client: &Tls, host: &str) {
    let came = async {
        while meet(server, client, host).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), came).await.expect("the new files are used");
}

#[tokio::test]
async fn files_that_change_a_hundred_times_fail_no_handshake() {
    let place = Place::new();
    let server = Tls::open(place.server(), require()).expect("right");
    let client = place.client("client", &place.issue(&Request::new(&[], &[CLIENT])));
    let task = tokio::spawn(server.clone().keep_current(Duration::from_millis(5)));
    for round in 0..100 {
        place.server();
        let met = meet(&server, &client, "here").await;
        assert!(met.is_ok(), "round {round}: {met:?}");
    }
    task.abort();
}
