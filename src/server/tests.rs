//! The pages and the API, asked as a browser or a program asks, on a ledger in memory.

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::people::{hash_password, token_digest};
use super::*;
use crate::config::{PasswordHash, UserSettings};
use crate::domain::Timestamp;
use crate::domain::access::{Right, Role};
use crate::domain::decision::Verdict;
use crate::domain::link::{Link, LinkAction};
use crate::domain::object::ObjectKey;
use crate::domain::plan::ErasurePlan;
use crate::domain::signature::SigningKey;
use crate::lake::memory::MemoryLake;

const PASSWORD: &str = "correct horse battery staple";

/// While the plan can be decided: 2026-11-21.
const NOW: Timestamp = Timestamp::constant(1_795_219_200, 0);

const HOST: &str = "127.0.0.1:8620";

/// What would act where it is shown raw.
const HOSTILE: [&str; 7] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' autofocus onfocus='alert(1)",
    "</textarea></title><svg onload=alert(1)>",
    "javascript:alert(1)",
    "a\u{202e}txt.exe\u{1b}[2J",
    "{{7*7}}${7*7}",
];

/// Who signs links.
fn link_key() -> SigningKey {
    SigningKey::new(&[7; 32]).expect("a key")
}

struct World {
    site: Arc<Site>,
    router: Router,
    clock: Clock,
    plan: PlanId,
}

fn plan() -> ErasurePlan {
    serde_json::from_str(include_str!("../../schema/fixtures/v1/plan.json")).expect("a plan")
}

async fn world() -> World {
    world_of(&plan()).await
}

async fn world_of(plan: &ErasurePlan) -> World {
    let clock = Clock::manual(NOW);
    let ledger = Ledger::new(Arc::new(MemoryLake::versioned()), &b"ledger/"[..], clock.clone());
    let id = ledger.put_plan(plan).await.expect("stored");
    let hash = hash_password(PASSWORD).and_then(|hash| PasswordHash::parse(&hash));
    let user = |name: &str, roles: &[Role]| UserSettings {
        name: name.to_owned(),
        roles: roles.iter().copied().collect::<BTreeSet<_>>(),
        password: hash.clone(),
        token: Some(token_digest(name)),
        email: None,
        subject: None,
    };
    let users: Vec<_> = Role::ALL.iter().map(|role| user(role.as_str(), &[*role])).collect();
    let site = Arc::new(Site {
        people: People::new(&users, clock.clone()),
        sessions: Sessions::new(1800, clock.clone()),
        pace: Pace::new(clock.clone()),
        ledger,
        datasets: vec![DatasetName::new("reviews")],
        two_people: false,
        link_key: Some(link_key().public()),
        lake: None,
        provider: None,
        clock: clock.clone(),
        url: None,
        listen: HOST.parse().expect("an address"),
        reviews: Mutex::default(),
    });
    World { router: router(site.clone()), site, clock, plan: id }
}

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl World {
    async fn ask(&self, request: Request<Body>) -> Answer {
        let response: Response<Body> =
            self.router.clone().oneshot(request).await.expect("answered");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        let body = String::from_utf8(body.to_vec()).expect("UTF-8");
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Asks with the token of whoever has this name.
    async fn with_token(&self, name: &str, method: &str, path: &str, document: &Value) -> Answer {
        let request = Request::builder().method(method).uri(path).header("host", HOST);
        let request = match name {
            "" => request,
            name => request.header("authorization", format!("Bearer {name}")),
        };
        self.ask(request.body(Body::from(document.to_string())).expect("a request")).await
    }

    async fn get(&self, browser: &Browser, path: &str) -> Answer {
        let request = Request::builder().uri(path).header("host", HOST);
        let request = request.header("cookie", &browser.cookie);
        self.ask(request.body(Body::empty()).expect("a request")).await
    }

    async fn post(&self, browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        if !browser.form_token.is_empty() {
            form.append_pair("form_token", &browser.form_token);
        }
        let request = Request::builder().method("POST").uri(path).header("host", HOST);
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", &browser.cookie)
            .header("origin", &browser.origin);
        self.ask(request.body(Body::from(form.finish())).expect("a request")).await
    }

    /// Signs in, and reads the token of the forms from a page.
    async fn browser(&self, name: &str) -> Browser {
        let mut browser = Browser::default();
        let signed_in =
            self.post(&browser, "/sign-in", &[("name", name), ("password", PASSWORD)]).await;
        assert_eq!((signed_in.status, signed_in.header("location")), (303, "/"));
        let cookie = signed_in.header("set-cookie");
        assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
        browser.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let page = self.get(&browser, "/").await.body;
        let (_, after) = page.split_once("name=\"form_token\" value=\"").expect("a form");
        browser.form_token = after.split('"').next().unwrap_or_default().to_owned();
        browser
    }

    async fn decisions(&self) -> Vec<crate::domain::decision::Decision> {
        self.site.ledger.decisions(&self.plan).await.expect("read")
    }

    fn address(&self, rest: &str) -> String {
        format!("/plans/{}{rest}", self.plan)
    }
}

struct Browser {
    cookie: String,
    form_token: String,
    origin: String,
}

impl Default for Browser {
    fn default() -> Self {
        let origin = format!("http://{HOST}");
        Self { cookie: String::new(), form_token: String::new(), origin }
    }
}

/// Who may ask what, written down by hand. `""` is nobody, who signs in only from our own page.
const MATRIX: &[(&str, &str, &[&str])] = &[
    ("GET", "/style.css", &["", "viewer", "requester", "approver", "operator", "auditor"]),
    ("GET", "/sign-in", &["", "viewer", "requester", "approver", "operator", "auditor"]),
    ("POST", "/sign-in", &["viewer", "requester", "approver", "operator", "auditor"]),
    ("POST", "/sign-out", &["viewer", "requester", "approver", "operator", "auditor"]),
    ("GET", "/", &["viewer", "requester", "approver", "operator", "auditor"]),
    ("GET", "/plans/{plan}", &["viewer", "requester", "approver", "operator", "auditor"]),
    (
        "GET",
        "/plans/{plan}/certificate",
        &["viewer", "requester", "approver", "operator", "auditor"],
    ),
    ("POST", "/plans/{plan}/approve", &["approver"]),
    ("POST", "/plans/{plan}/reject", &["approver"]),
    // Whoever has a link, and nobody by who they are.
    ("GET", "/decide", &[]),
    ("POST", "/decide", &[]),
    ("GET", "/requests", &["viewer", "requester", "approver", "operator", "auditor"]),
    ("POST", "/requests", &["requester"]),
    ("GET", "/requests/{request}", &["viewer", "requester", "approver", "operator", "auditor"]),
    ("POST", "/requests/{request}/events", &["requester"]),
    ("GET", "/api/v1/requests", &["viewer", "requester", "approver", "operator", "auditor"]),
    ("POST", "/api/v1/requests", &["requester"]),
    (
        "GET",
        "/api/v1/requests/{request}",
        &["viewer", "requester", "approver", "operator", "auditor"],
    ),
    ("POST", "/api/v1/requests/{request}/events", &["requester"]),
    (
        "GET",
        "/api/v1/openapi.json",
        &["", "viewer", "requester", "approver", "operator", "auditor"],
    ),
    ("GET", "/api/v1/caller", &["viewer", "requester", "approver", "operator", "auditor"]),
    ("GET", "/api/v1/plans", &["viewer", "requester", "approver", "operator", "auditor"]),
    ("GET", "/api/v1/plans/{plan}", &["viewer", "requester", "approver", "operator", "auditor"]),
    (
        "GET",
        "/api/v1/plans/{plan}/progress",
        &["viewer", "requester", "approver", "operator", "auditor"],
    ),
    (
        "GET",
        "/api/v1/plans/{plan}/decisions",
        &["viewer", "requester", "approver", "operator", "auditor"],
    ),
    (
        "GET",
        "/plans/{plan}/certificate.pdf",
        &["viewer", "requester", "approver", "operator", "auditor"],
    ),
    ("GET", "/live.js", &["", "viewer", "requester", "approver", "operator", "auditor"]),
    ("GET", "/sign-in/oidc", &["", "viewer", "requester", "approver", "operator", "auditor"]),
    (
        "GET",
        "/sign-in/oidc/callback",
        &["", "viewer", "requester", "approver", "operator", "auditor"],
    ),
    ("POST", "/plans/{plan}/preview", &["approver"]),
    ("POST", "/api/v1/plans/{plan}/preview", &["approver"]),
    ("POST", "/api/v1/plans/{plan}/approve", &["approver"]),
    ("POST", "/api/v1/plans/{plan}/reject", &["approver"]),
    (
        "GET",
        "/api/v1/plans/{plan}/certificate",
        &["viewer", "requester", "approver", "operator", "auditor"],
    ),
];

/// K11: each role, each route.
#[tokio::test]
async fn each_role_may_what_the_table_says_and_no_more() {
    let world = world().await;
    let named = |route: &routes::Route| {
        let method = if route.method == routes::Method::Get { "GET" } else { "POST" };
        (method, route.path)
    };
    let routes: BTreeSet<_> = routes::all().iter().map(named).collect();
    let table: BTreeSet<_> = MATRIX.iter().map(|(method, path, _)| (*method, *path)).collect();
    assert_eq!(routes, table, "the table names every route");
    for (method, path, allowed) in MATRIX {
        let path = path.replace("{plan}", &world.plan.to_string()).replace("{request}", "0");
        for name in ["", "viewer", "requester", "approver", "operator", "auditor"] {
            let answer = world.with_token(name, method, &path, &json!({})).await;
            let is_refused = matches!(answer.status, 401 | 403)
                || answer.header("location").contains("/sign-in?");
            assert_eq!(
                is_refused,
                !allowed.contains(&name),
                "{name:?} {method} {path}: {}",
                answer.status
            );
        }
    }
    assert!(world.decisions().await.is_empty(), "nobody sent a document");
}

#[test]
fn everybody_may_see_and_no_role_has_two_powers() {
    for role in Role::ALL {
        assert!(role.grants(Right::See));
        let powers = Right::ALL.into_iter().filter(|right| role.grants(*right)).count();
        assert!(powers <= 2, "{role:?}");
        assert_eq!(Role::named(role.as_str()), Some(role));
    }
}

#[tokio::test]
async fn an_approver_approves_on_the_page() {
    let world = world().await;
    let browser = world.browser("approver").await;
    let page = world.get(&browser, &world.address("")).await;
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("4 rows in 2 objects") || page.body.contains("rows in"),
        "a verdict"
    );
    let object = "reviews:reviews/2026/11/part-0.json.gz";
    let prefix = world.plan.prefix();
    let fields = [("confirm", prefix.as_str()), ("except", object), ("except", " \n")];
    let approved = world.post(&browser, &world.address("/approve"), &fields).await;
    assert_eq!((approved.status, approved.header("location")), (303, world.address("").as_str()));
    let decisions = world.decisions().await;
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0].by, "approver");
    match &decisions[0].verdict {
        Verdict::Approved { except } => assert_eq!(except.len(), 1),
        Verdict::Rejected { .. } => panic!("it was approved"),
    }
    let page = world.get(&browser, &world.address("")).await.body;
    assert!(page.contains("approved by") && !page.contains("id=\"approve\""));
    assert!(page.contains("id=\"reason\""), "what was approved can still be rejected");
}

/// A server that was given the ledger alone decides, and shows no rows.
#[tokio::test]
async fn without_a_lake_no_rows_are_shown() {
    let world = world().await;
    let document = json!({ "object": "reviews:reviews/2026/11/part-0.json.gz", "rows": 3 });
    let path = format!("/api/v1{}", world.address("/preview"));
    let answer = world.with_token("approver", "POST", &path, &document).await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(answer.body.contains("no access to the lake"), "{}", answer.body);
    let odd = world.with_token("approver", "POST", &path, &json!({ "objects": 1 })).await;
    assert_eq!(odd.status, 422, "{}", odd.body);
}

#[tokio::test]
async fn nothing_is_approved_by_a_slip() {
    let world = world().await;
    let browser = world.browser("approver").await;
    let prefix = world.plan.prefix();
    let wrong = [("confirm", &prefix[..7]), ("confirm", ""), ("confirm", "00000000")];
    for field in wrong {
        let answer = world.post(&browser, &world.address("/approve"), &[field]).await;
        assert_eq!(answer.status, 422, "{field:?}");
    }
    let fields = [("confirm", prefix.as_str()), ("except", "no such object")];
    assert_eq!(world.post(&browser, &world.address("/approve"), &fields).await.status, 422);
    let no_reason = world.post(&browser, &world.address("/reject"), &[("reason", " ")]).await;
    assert_eq!(no_reason.status, 422);
    assert!(world.decisions().await.is_empty());
}

/// K3 and K5: what did not come from our own page changes nothing.
#[tokio::test]
async fn another_site_changes_nothing() {
    let world = world().await;
    let own = world.browser("approver").await;
    let prefix = world.plan.prefix();
    let fields = [("confirm", prefix.as_str())];
    let (address, cookie) = (world.address("/approve"), own.cookie.clone());
    let forged =
        Browser { cookie: cookie.clone(), form_token: String::new(), ..Browser::default() };
    assert_eq!(world.post(&forged, &address, &fields).await.status, 403);
    let other = world.browser("viewer").await.form_token;
    let forged = Browser { cookie: cookie.clone(), form_token: other, ..Browser::default() };
    assert_eq!(world.post(&forged, &address, &fields).await.status, 403);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", ""] {
        let origin = origin.to_owned();
        let forged = Browser { cookie: cookie.clone(), form_token: own.form_token.clone(), origin };
        assert_eq!(world.post(&forged, &address, &fields).await.status, 403);
    }
    for path in [address.clone(), world.address("/reject")] {
        assert_eq!(world.get(&own, &path).await.status, 405, "a look changes nothing");
    }
    assert!(world.decisions().await.is_empty());
    assert_eq!(world.post(&own, &address, &fields).await.status, 303);
}

/// K9: a page of somebody else's whose name leads to this machine.
#[tokio::test]
async fn another_host_is_not_answered() {
    let world = world().await;
    for host in ["evil.example:8620", "127.0.0.1", "", "127.0.0.1:8620.evil.example"] {
        let request = Request::builder().uri("/sign-in").header("host", host);
        let answer = world.ask(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status, 421, "{host}");
    }
    for host in ["localhost:8620", "LOCALHOST:8620", "[::1]:8620"] {
        let request = Request::builder().uri("/sign-in").header("host", host);
        let answer = world.ask(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    let world = world().await;
    for path in ["/sign-in", "/style.css", "/nothing", "/", "/api/v1/plans", "/api/v1/nothing"] {
        let answer = world.with_token("viewer", "GET", path, &Value::Null).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
}

/// K8 and L7: keys, references and reasons stay text, in every page.
#[tokio::test]
async fn what_is_hostile_stays_text() {
    let mut plan = plan();
    for (change, hostile) in plan.changes.iter_mut().zip(HOSTILE) {
        change.key = ObjectKey::from(hostile);
    }
    let more = plan.changes.last().cloned().expect("a change");
    plan.changes.extend(HOSTILE.iter().map(|hostile| {
        let key = ObjectKey::from(*hostile);
        crate::domain::plan::PlannedChange { key, ..more.clone() }
    }));
    plan.request = HOSTILE.concat();
    let world = world_of(&plan).await;
    let browser = world.browser("approver").await;
    for hostile in HOSTILE {
        let rejected =
            world.post(&browser, &world.address("/reject"), &[("reason", hostile)]).await;
        assert_eq!(rejected.status, 303);
        let mut search = form_urlencoded::Serializer::new(String::new());
        search.append_pair("q", hostile).append_pair("dataset", hostile);
        let search = world.address(&format!("?{}", search.finish()));
        let mut sign_in = form_urlencoded::Serializer::new(String::from("/sign-in?"));
        sign_in.append_pair("to", hostile);
        for path in ["/?show=all", &world.address(""), &search, &sign_in.finish()] {
            let page = world.get(&browser, path).await;
            assert_eq!(page.status, 200, "{path}");
            // An apostrophe ends nothing: every attribute stands in quotation marks.
            let is_markup = hostile.contains(['<', '"']);
            assert!(!is_markup || !page.body.contains(hostile), "{hostile} on {path}");
            for raw in ["<script", "<img", "<svg", "href=\"javascript:"] {
                assert!(!page.body.contains(raw), "{raw} on {path}");
            }
            let acts =
                |at: char| at.is_control() && at != '\n' || ('\u{202a}'..='\u{202e}').contains(&at);
            assert!(!page.body.contains(acts), "{path}");
        }
    }
}

#[tokio::test]
async fn signing_in_leads_nowhere_else() {
    let world = world().await;
    for (to, expected) in [
        ("/plans/abc", "/plans/abc"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
    ] {
        let fields = [("name", "viewer"), ("password", PASSWORD), ("to", to)];
        let answer = world.post(&Browser::default(), "/sign-in", &fields).await;
        assert_eq!((answer.status, answer.header("location")), (303, expected), "{to:?}");
    }
    let page = world.get(&Browser::default(), &world.address("")).await;
    let asked: String = form_urlencoded::byte_serialize(world.address("").as_bytes()).collect();
    let expected = format!("/sign-in?to={asked}");
    assert_eq!((page.status, page.header("location")), (303, expected.as_str()));
}

#[tokio::test]
async fn who_signed_out_or_rested_is_not_known() {
    let world = world().await;
    let browser = world.browser("viewer").await;
    assert_eq!(world.post(&browser, "/sign-out", &[]).await.status, 303);
    assert_eq!(world.get(&browser, "/").await.status, 303);
    let browser = world.browser("viewer").await;
    world.clock.set(Timestamp::from_second(NOW.as_second() + 1800).expect("a moment"));
    assert_eq!(world.get(&browser, "/").await.status, 303);
}

/// A8: what expired cannot be approved, and the page does not offer it.
/// Holds a document against a schema of the API's description.
fn is_as_described(schema: &str, document: &Value) {
    let whole = json!({
        "components": openapi()["components"],
        "$ref": format!("#/components/schemas/{schema}"),
    });
    let validator = jsonschema::validator_for(&whole).expect("a schema");
    let errors: Vec<String> =
        validator.iter_errors(document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}\n{document:#}");
}

impl World {
    fn link(&self, by: &str, action: LinkAction) -> Link {
        let (expires_at, nonce) = (plan().expires_at, "00".repeat(16));
        Link { plan: self.plan, by: by.to_owned(), action, expires_at, nonce }
    }

    async fn follow(&self, link: &str) -> Answer {
        self.get(&Browser::default(), &format!("/decide?link={link}")).await
    }

    async fn decide_by(&self, link: &str, more: &[(&str, &str)]) -> Answer {
        let fields = [&[("link", link)], more].concat();
        self.post(&Browser::default(), "/decide", &fields).await
    }
}

/// K2, K3: whoever follows the link, however often, decides nothing; of a hundred that send the form one
/// decides.
#[tokio::test]
async fn a_link_decides_once_and_only_by_its_form() {
    let world = world().await;
    let link = world.link("approver", LinkAction::Approve).sign(&link_key());
    for method in ["GET", "HEAD", "OPTIONS"] {
        let request = Request::builder().method(method).uri(format!("/decide?link={link}"));
        let answer =
            world.ask(request.header("host", HOST).body(Body::empty()).expect("one")).await;
        assert!(matches!(answer.status, 200 | 405), "{method}");
    }
    let page = world.follow(&link).await;
    assert!(page.body.contains("rows in") && page.body.contains("name=\"confirm\""));
    let prefix = world.plan.prefix();
    let slip = world.decide_by(&link, &[("confirm", "00000000")]).await;
    assert_eq!(slip.status, 422);
    assert!(world.decisions().await.is_empty(), "nobody sent the form as it has to be");
    let confirmed = [("confirm", prefix.as_str())];
    let tries = (0..100).map(|_| world.decide_by(&link, &confirmed));
    let answers = futures::future::join_all(tries).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(409)), (1, 99));
    let decisions = world.decisions().await;
    assert_eq!((decisions.len(), decisions[0].by.as_str()), (1, "approver"));
    assert!(decisions[0].link.is_some());
    // Used is used, also after somebody rejected the plan in between.
    let reject = world.link("approver", LinkAction::Reject).sign(&link_key());
    assert_eq!(world.decide_by(&reject, &[("reason", " ")]).await.status, 422);
    assert_eq!(world.decide_by(&reject, &[("reason", "the wrong person")]).await.status, 200);
    assert_eq!(world.decide_by(&link, &confirmed).await.status, 409);
    assert_eq!(world.decisions().await.len(), 2);
}

/// K1, K4: altered, foreign, too old, for somebody who may not decide, for a plan that another one followed.
#[tokio::test]
async fn a_link_that_is_none_decides_nothing() {
    let world = world().await;
    let prefix = world.plan.prefix();
    let good = world.link("approver", LinkAction::Approve);
    let refused = async |text: &str, status: u16| {
        assert_eq!(world.follow(text).await.status, status, "{text}");
        let confirmed = [("confirm", prefix.as_str()), ("reason", "a reason")];
        assert_eq!(world.decide_by(text, &confirmed).await.status, status, "{text}");
        assert!(world.decisions().await.is_empty());
    };
    let text = good.sign(&link_key());
    refused("", 403).await;
    refused(&text[1..], 403).await;
    refused(&format!("{text}A"), 403).await;
    refused(&good.sign(&SigningKey::new(&[8; 32]).expect("a key")), 403).await;
    for by in ["viewer", "requester", "operator", "auditor", "nobody"] {
        refused(&world.link(by, LinkAction::Approve).sign(&link_key()), 403).await;
    }
    refused(&Link { expires_at: NOW, ..good.clone() }.sign(&link_key()), 410).await;
    refused(&Link { plan: PlanId::of(b""), ..good.clone() }.sign(&link_key()), 404).await;
    let later = ErasurePlan { planned_at: NOW, ..plan() };
    world.site.ledger.put_plan(&later).await.expect("stored");
    refused(&text, 409).await;
}

/// The register by page: a request comes in, is put on hold, and is released by somebody else.
#[tokio::test]
async fn a_request_is_entered_on_the_page() {
    let world = world().await;
    let browser = world.browser("requester").await;
    let received = [
        ("reference", "DSR-7"),
        ("jurisdiction", "gdpr"),
        ("days", ""),
        ("received_on", "2026-11-03"),
        ("channel", "web-form"),
    ];
    let answer = world.post(&browser, "/requests", &received).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let address = answer.header("location").to_owned();
    let events = format!("{address}/events");
    for event in ["acknowledged", "verified"] {
        assert_eq!(world.post(&browser, &events, &[("event", event)]).await.status, 303);
        let again = world.post(&browser, &events, &[("event", event)]).await;
        assert_eq!(again.status, 409, "once is enough");
    }
    let hold = [("event", "held"), ("dataset", "reviews"), ("basis", "lawsuit-1"), ("until", "")];
    assert_eq!(world.post(&browser, &events, &hold).await.status, 303);
    let unknown = [("event", "held"), ("dataset", "nowhere"), ("basis", "lawsuit-1")];
    assert_eq!(world.post(&browser, &events, &unknown).await.status, 422);
    let own = world.post(&browser, &events, &[("event", "released"), ("hold", "3")]).await;
    assert_eq!(own.status, 409, "by somebody else alone");
    let page = world.get(&browser, &address).await.body;
    for shown in
        ["Request DSR-7", "state going", "12 days", "Hold 3 on reviews (lawsuit-1)", "web-form"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let list = world.get(&browser, "/requests").await.body;
    assert!(list.contains("DSR-7") && list.contains("Open 1"));
    let viewer = world.get(&world.browser("viewer").await, &address).await.body;
    assert!(viewer.contains("Request DSR-7") && !viewer.contains("name=\"event\""));
    for field in [("received_on", "soon"), ("jurisdiction", "mars"), ("reference", "<b>")] {
        let mut fields = received.to_vec();
        fields.retain(|(name, _)| *name != field.0);
        fields.push(field);
        let answer = world.post(&browser, "/requests", &fields).await;
        assert_eq!(answer.status, 422, "{field:?}");
        assert!(!answer.body.contains(field.1), "{field:?}");
    }
}

/// The same by the API, each answer as the description says.
#[tokio::test]
async fn a_request_is_entered_by_the_api() {
    let world = world().await;
    let receipt = json!({
        "reference": "DSR 7/a#b",
        "jurisdiction": "ccpa",
        "received_on": "2026-11-03",
    });
    let received = world.with_token("requester", "POST", "/api/v1/requests", &receipt).await;
    assert_eq!(received.status, 200, "{}", received.body);
    is_as_described("request", &received.json());
    let id = received.json()["id"].as_str().expect("an id").to_owned();
    let events = format!("/api/v1/requests/{id}/events");
    let held = json!({
        "event": "held",
        "extent": { "of": "column", "dataset": "reviews", "column": "contact.email" },
        "basis": "tax",
        "until": "2030-12-31",
    });
    let held = world.with_token("requester", "POST", &events, &held).await;
    assert_eq!((held.status, &held.json()["standing_holds"]), (200, &1.into()), "{}", held.body);
    is_as_described("request", &held.json());
    let shown =
        world.with_token("viewer", "GET", &format!("/api/v1/requests/{id}"), &json!({})).await;
    assert_eq!(shown.json(), held.json());
    let all = world.with_token("viewer", "GET", "/api/v1/requests", &json!({})).await;
    is_as_described("requests", &all.json());
    for (path, document, status) in [
        (events.as_str(), json!({ "event": "denied" }), 422),
        (&events, json!({ "event": "acknowledged", "more": 1 }), 422),
        (&events, json!({ "event": "released", "hold": 9 }), 409),
        ("/api/v1/requests", receipt.clone(), 409),
        ("/api/v1/requests", json!({ "reference": "=1+1" }), 422),
        (
            "/api/v1/requests/00000000000000000000000000000000/events",
            json!({ "event": "closed" }),
            404,
        ),
        ("/api/v1/requests/zz/events", json!({ "event": "closed" }), 404),
    ] {
        let answer = world.with_token("requester", "POST", path, &document).await;
        assert_eq!(answer.status, status, "{path} {document}: {}", answer.body);
    }
}

#[tokio::test]
async fn an_expired_plan_is_not_approved() {
    let world = world().await;
    world.clock.set(plan().expires_at);
    let browser = world.browser("approver").await;
    let page = world.get(&browser, &world.address("")).await.body;
    assert!(page.contains("expired") && !page.contains("id=\"confirm\""));
    let prefix = world.plan.prefix();
    let fields = [("confirm", prefix.as_str())];
    assert_eq!(world.post(&browser, &world.address("/approve"), &fields).await.status, 409);
    assert!(world.decisions().await.is_empty());
}

/// Every answer of the API is as the description says.
#[tokio::test]
async fn the_api_is_as_it_is_described() {
    let world = world().await;
    let description =
        world.with_token("", "GET", "/api/v1/openapi.json", &Value::Null).await.json();
    assert_eq!(description["openapi"], "3.1.0");
    let plan = world.plan.to_string();
    let approval = json!({ "confirm": world.plan.prefix() });
    let rejection = json!({ "reason": "the wrong person" });
    let paths = description["paths"].as_object().expect("paths");
    let described: usize =
        paths.values().filter_map(Value::as_object).map(serde_json::Map::len).sum();
    assert_eq!(routes::all().iter().filter(|route| route.api.is_some()).count(), described);
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            let document = if path.ends_with("approve") { &approval } else { &rejection };
            let uri = path.replace("{plan}", &plan).replace("{request}", &"0".repeat(32));
            let method = method.to_uppercase();
            let answer = world.with_token("approver", &method, &uri, document).await;
            let told = &operation["responses"][answer.status.to_string()];
            let schema = told["content"]["application/json"]["schema"].clone();
            assert!(schema.is_object(), "{method} {path} answers {}", answer.status);
            let whole = json!({ "components": description["components"], "allOf": [schema] });
            let validator = jsonschema::validator_for(&whole).expect("a schema");
            assert!(validator.is_valid(&answer.json()), "{method} {path}: {}", answer.body);
        }
    }
    assert_eq!(world.decisions().await.len(), 2);
}

#[tokio::test]
async fn a_document_that_is_none_is_refused_by_place() {
    let world = world().await;
    let path = format!("/api/v1/plans/{}/reject", world.plan);
    for document in [json!({}), json!([]), json!({"reason": 1}), json!({"reason": "x", "more": 1})]
    {
        let answer = world.with_token("approver", "POST", &path, &document).await;
        assert_eq!(answer.status, 422, "{document}");
        assert!(answer.json()["error"].as_str().is_some_and(|text| text.contains("line 1")));
    }
    let none = world.with_token("viewer", "GET", "/api/v1/plans/00000000", &Value::Null).await;
    assert_eq!(none.status, 404);
    let malformed = world.with_token("viewer", "GET", "/api/v1/plans/zz", &Value::Null).await;
    assert_eq!(malformed.status, 404);
}

/// Twenty thousand objects are sorted, filtered and leafed through.
#[tokio::test]
async fn a_large_plan_is_leafed_through() {
    let mut plan = plan();
    let one = plan.changes.iter().find(|it| it.rewrite.is_some()).cloned().expect("a rewrite");
    plan.changes = (0..20_000_u64)
        .map(|number| {
            let mut change = one.clone();
            change.key = ObjectKey::from(format!("reviews/{number:06}.json.gz").as_str());
            if let Some(rewrite) = &mut change.rewrite {
                rewrite.object.key = change.key.clone();
                rewrite.object.size_bytes = number;
            }
            change
        })
        .collect();
    let world = world_of(&plan).await;
    let browser = world.browser("viewer").await;
    let page = world.get(&browser, &world.address("?sort=size&page=2")).await.body;
    assert!(page.contains("reviews/019899.json.gz") && page.contains("reviews/019800.json.gz"));
    assert!(!page.contains("reviews/019900.json.gz") && !page.contains("reviews/019799.json.gz"));
    assert!(page.contains("Page 2 of 200"));
    let page = world.get(&browser, &world.address("?q=REVIEWS%2F00000")).await.body;
    assert!(page.contains("10 objects") && page.contains("reviews/000009.json.gz"));
    let page = world.get(&browser, &world.address("?page=999999")).await.body;
    assert!(page.contains("Page 200 of 200") && page.contains("reviews/019999.json.gz"));
    assert!(!page.contains("type=\"checkbox\""), "a viewer cannot leave anything out");
}

/// Two who decide at once: both decisions are kept, and the last one counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn decisions_at_once_are_all_kept() {
    let world = Arc::new(world().await);
    let path = format!("/api/v1/plans/{}/reject", world.plan);
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (world, path) = (world.clone(), path.clone());
            tokio::spawn(async move {
                let document = json!({ "reason": format!("reason {number}") });
                world.with_token("approver", "POST", &path, &document).await.status
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("no panic"), 200);
    }
    assert_eq!(world.decisions().await.len(), 20);
}

#[tokio::test]
async fn what_cannot_be_served_safely_is_not() {
    let ledger = || {
        let lake = Arc::new(MemoryLake::versioned());
        Ledger::new(lake, &b""[..], Clock::manual(NOW))
    };
    let nobody = ServerSettings::default();
    let tried = listen(&nobody, Rules::default(), ledger(), None, Clock::manual(NOW)).await;
    assert!(matches!(tried, Err(ServeError::Nobody)));
    let user = UserSettings {
        name: "ann".to_owned(),
        roles: BTreeSet::from([Role::Viewer]),
        password: None,
        token: Some(token_digest("t")),
        email: None,
        subject: None,
    };
    let settings = |listen: &str| ServerSettings {
        listen: listen.parse().expect("an address"),
        users: vec![user.clone()],
        ..ServerSettings::default()
    };
    let open =
        listen(&settings("0.0.0.0:0"), Rules::default(), ledger(), None, Clock::manual(NOW)).await;
    assert!(matches!(open, Err(ServeError::Nameless { .. })));
    let here =
        listen(&settings("127.0.0.1:0"), Rules::default(), ledger(), None, Clock::manual(NOW))
            .await
            .expect("free");
    assert!(here.url().starts_with("http://127.0.0.1:"));
    let taken = here.url().trim_start_matches("http://").to_owned();
    let again =
        listen(&settings(&taken), Rules::default(), ledger(), None, Clock::manual(NOW)).await;
    assert!(matches!(again, Err(ServeError::Listen { .. })));
}

/// A hundred thousand lines are in order, filtered and counted.
#[test]
fn objects_are_sorted_and_filtered() {
    let mut plan = plan();
    let one = plan.changes.iter().find(|it| it.rewrite.is_some()).cloned().expect("a rewrite");
    plan.changes = (0..100_000_u64)
        .map(|number| {
            let mut change = one.clone();
            change.key = ObjectKey::from(format!("{number:06}").as_str());
            change.rewrite.as_mut().expect("a rewrite").object.size_bytes = number * 7 % 100_000;
            change
        })
        .collect();
    let report = PurgeReport::new(PlanId::of(b""), &plan);
    let query = objects::Query { sort: objects::Sort::Size, page: 3, ..Default::default() };
    let page = objects::page(&report, &query);
    assert_eq!((page.found, page.pages, page.page), (100_000, 1000, 3));
    let sizes: Vec<u64> = page
        .lines
        .iter()
        .filter_map(|it| it.change.rewrite.as_ref())
        .map(|it| it.size_bytes)
        .collect();
    let expected: Vec<u64> = (0..100).map(|line| 99_999 - 200 - line).collect();
    assert_eq!(sizes, expected);
    let query = objects::Query { q: "00042".to_owned(), ..Default::default() };
    assert_eq!(objects::page(&report, &query).found, 10 + 1, "000420 to 000429, and 100042 …");
    let query = objects::Query { dataset: "clicks".to_owned(), ..Default::default() };
    assert_eq!(objects::page(&report, &query).found, 0);
}

/// Who approves sees what is different from the plan before.
#[tokio::test]
async fn the_difference_from_the_plan_before_is_shown() {
    let world = world().await;
    let mut later = plan();
    later.planned_at = Timestamp::from_second(later.planned_at.as_second() + 60).expect("a moment");
    later.changes.remove(0);
    if let Some(rewrite) = &mut later.changes[0].rewrite {
        rewrite.rows_total.0 += 1;
    }
    let id = world.site.ledger.put_plan(&later).await.expect("stored");
    let browser = world.browser("viewer").await;
    let page = world.get(&browser, &format!("/plans/{id}")).await.body;
    let told = "there are 0 objects more, 1 object less, 1 object dealt with otherwise, and 1 object as before";
    assert!(page.contains(&world.plan.prefix()) && page.contains(told), "{page}");
    let first = world.get(&browser, &world.address("")).await.body;
    assert!(!first.contains("Since the plan before"));
}

/// K12 and K13: who asks without end is told to wait; others are not.
#[tokio::test]
async fn who_asks_without_end_has_to_wait() {
    let world = world().await;
    for _ in 0..pace::REQUESTS {
        let answer = world.with_token("viewer", "GET", "/api/v1/caller", &Value::Null).await;
        assert_eq!(answer.status, 200);
    }
    let answer = world.with_token("viewer", "GET", "/api/v1/caller", &Value::Null).await;
    assert_eq!(answer.status, 429);
    assert!((1..=60).contains(&answer.header("retry-after").parse::<u32>().expect("seconds")));
    let other = world.with_token("auditor", "GET", "/api/v1/caller", &Value::Null).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_body_without_end_is_not_read() {
    let world = world().await;
    let path = format!("/api/v1/plans/{}/reject", world.plan);
    let document = json!({ "reason": "x".repeat(guard::LONGEST_BODY) });
    assert_eq!(world.with_token("approver", "POST", &path, &document).await.status, 413);
}
