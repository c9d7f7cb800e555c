//! The privacy officer's side: pages to review and decide on plans, and the same as an API.
//!
//! Pages are made on the server and work without a script, which one has to renew how far a run is. Every
//! route stands in one table (`routes`)
//! with what it takes, so that who may do what is seen in one place, and the API's description is made
//! from it. Pages read and write documents of the ledger, as the command line does, and by the same
//! functions. Of the lake nothing is read but rows that somebody asks to see, masked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;

use crate::config::{OidcSettings, Secret, ServerSettings, UserSettings};
use crate::domain::dataset::DatasetName;
use crate::domain::observe::Stop;
use crate::domain::plan::{ErasurePlan, PlanId};
use crate::domain::signature::PublicKey;
use crate::erase::approval::Decider;
use crate::erase::difference::Difference;
use crate::erase::report::PurgeReport;
use crate::erase::tools::EraseTools;
use crate::wire::{Clock, Ledger, LedgerError};

mod api;
mod guard;
mod objects;
mod oidc;
mod openapi;
mod pace;
mod pages;
pub mod people;
mod refusal;
mod register;
mod routes;
mod sessions;
#[cfg(test)]
mod tests;

pub use openapi::document as openapi;
pub use refusal::{REFUSAL_SCHEMA, RefusalDocument};

use oidc::Provider;
use pace::Pace;
use people::People;
use refusal::Refusal;
use sessions::Sessions;

/// How many reviews are kept at hand: reading a large plan anew for every page of its objects takes long.
const REVIEWS_AT_HAND: usize = 8;

/// What a reviewer reads of a plan.
#[derive(Debug)]
struct Review {
    report: PurgeReport,
    /// How the plan differs from the one before it of the same request, where there is one.
    difference: Option<Difference>,
}

/// Everything that the pages are made from.
struct Site {
    ledger: Ledger,
    clock: Clock,
    /// The names of the configured datasets.
    datasets: Vec<DatasetName>,
    /// Whether who registered a request may not approve its plan.
    two_people: bool,
    /// The key that links to decide are signed by.
    link_key: Option<PublicKey>,
    /// What reads rows that somebody asks to see; none where the lake is not at hand.
    lake: Option<EraseTools>,
    /// The identity provider that people sign in by, if there is one.
    provider: Option<Provider>,
    people: People,
    sessions: Sessions,
    pace: Pace,
    /// The origin under which people reach the pages, where it is configured.
    url: Option<String>,
    listen: SocketAddr,
    reviews: Mutex<Vec<Arc<Review>>>,
}

/// The pages cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system answered.
        source: std::io::Error,
    },
    /// Nobody could sign in.
    #[error(
        "nobody may sign in: add a [[server.user]] with a password_hash, which `lacuna password` makes"
    )]
    Nobody,
    /// Others can reach the address, and it is not known under which name.
    #[error(
        "{address} can be reached from elsewhere: set `url` of [server] to the address that people \
         type, such as https://erasure.example.org"
    )]
    Nameless {
        /// The address.
        address: SocketAddr,
    },
    /// The connection broke as a whole.
    #[error("the server failed")]
    Failed(#[from] std::io::Error),
}

/// A server that listens and does not answer yet.
pub struct Listening {
    listener: TcpListener,
    site: Arc<Site>,
}

/// What pages have to know of the configuration besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The names of the configured datasets.
    pub datasets: Vec<DatasetName>,
    /// Whether who registered a request may not approve its plan.
    pub two_people: bool,
    /// The key that links to decide are signed by; none where no key is configured.
    pub link_key: Option<PublicKey>,
    /// The identity provider that people sign in by, if there is one.
    pub oidc: Option<OidcSettings>,
    /// What proves to it who this is, where it wants that.
    pub oidc_secret: Option<Secret>,
}

/// Begins to listen. Without a lake no rows can be shown.
///
/// # Errors
///
/// [`ServeError`]; nothing is served then.
pub async fn listen(
    settings: &ServerSettings,
    rules: Rules,
    ledger: Ledger,
    lake: Option<EraseTools>,
    clock: Clock,
) -> Result<Listening, ServeError> {
    let has_provider = rules.oidc.is_some();
    let is_known = |user: &UserSettings| {
        let is_identified = user.email.is_some() || user.subject.is_some();
        user.password.is_some() || user.token.is_some() || has_provider && is_identified
    };
    if !settings.users.iter().any(is_known) {
        return Err(ServeError::Nobody);
    }
    let address = settings.listen;
    if settings.url.is_none() && !address.ip().is_loopback() {
        return Err(ServeError::Nameless { address });
    }
    let listening = TcpListener::bind(address).await;
    let listener = listening.map_err(|source| ServeError::Listen { address, source })?;
    let listen = listener.local_addr()?;
    let origin = settings.url.clone().unwrap_or_else(|| format!("http://{listen}"));
    let secret = rules.oidc_secret;
    let provider = rules.oidc.map(|oidc| Provider::new(oidc, secret, &origin, clock.clone()));
    let site = Site {
        people: People::new(&settings.users, clock.clone()),
        sessions: Sessions::new(settings.idle_seconds, clock.clone()),
        pace: Pace::new(clock.clone()),
        ledger,
        clock,
        datasets: rules.datasets,
        two_people: rules.two_people,
        link_key: rules.link_key,
        lake,
        provider,
        url: settings.url.clone(),
        listen,
        reviews: Mutex::default(),
    };
    Ok(Listening { listener, site: Arc::new(site) })
}

impl Listening {
    /// Where people reach the pages.
    pub fn url(&self) -> String {
        self.site.url.clone().unwrap_or_else(|| format!("http://{}", self.site.listen))
    }

    /// Answers until a stop is asked for, and then finishes what is under way.
    ///
    /// # Errors
    ///
    /// [`ServeError::Failed`].
    pub async fn serve(self, stop: Stop) -> Result<(), ServeError> {
        let service = router(self.site).into_make_service_with_connect_info::<SocketAddr>();
        let stopped = async move {
            while !stop.is_requested() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        Ok(axum::serve(self.listener, service).with_graceful_shutdown(stopped).await?)
    }
}

/// Every route behind its guard.
fn router(site: Arc<Site>) -> Router {
    let mut router = Router::new();
    for route in routes::all() {
        let guard = from_fn_with_state((site.clone(), route.needs), guard::admit);
        router = router.route(route.path, route.handler.layer(guard));
    }
    router
        .fallback(pages::nothing_here)
        .method_not_allowed_fallback(pages::wrong_method)
        .layer(from_fn_with_state(site.clone(), guard::around))
        .with_state(site)
}

impl Site {
    /// Whether people reach the pages over TLS, which a proxy before them speaks.
    fn is_https(&self) -> bool {
        self.url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }

    /// The name of the session's cookie. The prefix makes a browser refuse one that another host of the
    /// domain, or a page without TLS, wants to set (RFC 6265bis, 4.1.3.2).
    fn cookie_name(&self) -> &'static str {
        if self.is_https() { "__Host-lacuna" } else { "lacuna" }
    }

    /// The hosts that this server answers for. A page of somebody else's that resolves its own name to
    /// this machine is none of them.
    fn hosts(&self) -> Vec<String> {
        let port = self.listen.port();
        let own = self.url.as_ref().and_then(|url| url.split_once("://"));
        let mut hosts: Vec<String> = own.iter().map(|(_, host)| (*host).to_owned()).collect();
        if self.listen.ip().is_loopback() {
            let here = ["127.0.0.1", "localhost", "[::1]"];
            hosts.extend(here.map(|name| format!("{name}:{port}")));
        }
        hosts
    }

    fn is_our_host(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| self.hosts().iter().any(|own| own.eq_ignore_ascii_case(host)))
    }

    /// Lets through what a page of our own sends.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_own = match (text("origin"), text("sec-fetch-site")) {
            (Some(origin), _) => origin.split_once("://").is_some_and(|(_, host)| {
                self.hosts().iter().any(|own| own.eq_ignore_ascii_case(host))
            }),
            (None, Some(site)) => site == "same-origin",
            (None, None) => false,
        };
        if is_own {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, "the form was sent from another site")
            .remedy("open the page here and repeat it; nothing was done"))
    }

    /// Who decides, under the rule of the configuration.
    fn decider<'a>(&self, by: &'a str) -> Decider<'a> {
        Decider { by, is_one_of_two: self.two_people, link: None }
    }

    /// What there is to read of the plan that an address names. It follows from the bytes of plans, which
    /// their ids are the digests of, so that what was read once stays right.
    async fn review(&self, plan: &str) -> Result<Arc<Review>, LedgerError> {
        let id = self.ledger.find_plan(plan).await?;
        if let Some(review) = self.review_at_hand(&id) {
            return Ok(review);
        }
        let plan = self.ledger.plan(&id).await?;
        let difference = self.difference(&id, &plan).await?;
        let review = Arc::new(Review { report: PurgeReport::new(id, &plan), difference });
        let mut reviews = self.reviews.lock().unwrap_or_else(PoisonError::into_inner);
        reviews.truncate(REVIEWS_AT_HAND - 1);
        reviews.insert(0, review.clone());
        Ok(review)
    }

    fn review_at_hand(&self, id: &PlanId) -> Option<Arc<Review>> {
        let reviews = self.reviews.lock().unwrap_or_else(PoisonError::into_inner);
        reviews.iter().find(|review| review.report.plan_id == *id).cloned()
    }

    /// How a plan differs from the latest one before it of the same request, where there is one.
    async fn difference(
        &self,
        id: &PlanId,
        plan: &ErasurePlan,
    ) -> Result<Option<Difference>, LedgerError> {
        let plans = self.ledger.plans().await?;
        let earlier = plans.iter().filter(|it| it.id != *id).find(|it| {
            let summary = it.summary.as_ref();
            summary.is_some_and(|of| of.request == plan.request && of.planned_at < plan.planned_at)
        });
        let Some(earlier) = earlier else { return Ok(None) };
        let before = self.ledger.plan(&earlier.id).await?;
        Ok(Some(Difference::between((earlier.id, &before), plan)))
    }
}
