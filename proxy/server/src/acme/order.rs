//! One order, from the account to the certificate (RFC 8555 section 7).

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeHandle, ChallengeType, Error, ExternalAccountKey,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    RsaKeySize,
};
use serde::{Deserialize, Serialize};
use weir_config::{Acme, Challenge, Eab, KeyType};

use super::{
    certificate::Managed,
    challenges::{Answer, Challenges},
    client::Client,
    storage::Storage,
};

/// How an authority is asked whether it has made up its mind: every half second at first, then less and less
/// often, or as it wishes.
const POLLS: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(Duration::from_secs(90));

const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Failed {
    /// For people.
    pub(super) why: String,
    /// For how long the authority wants to be left alone.
    pub(super) asked: Option<Duration>,
}

impl Failed {
    pub(super) fn of(why: impl ToString) -> Self {
        Self { why: why.to_string(), asked: None }
    }
}

/// Order a certificate; its key and its chain as PEM, which are on disk by then.
pub(super) async fn obtain(certificate: &Managed, challenges: &Arc<Challenges>) -> Result<String, Failed> {
    let authority = Arc::clone(&certificate.authority);
    let (storage, names) = (certificate.storage.clone(), certificate.names().to_vec());
    let client = blocking({
        let authority = Arc::clone(&authority);
        move || Client::build(authority.ca.as_deref())
    });
    let client = client.await?;
    let ordered = ordered(&authority, &storage, &names, &client, challenges).await;
    let pem = ordered.map_err(|why| Failed { why, asked: client.asked() })?;
    let kept = pem.clone();
    blocking(move || storage.keep_certificate(&names, &kept).map_err(|error| unwritten(&storage, &names, &error)))
        .await?;
    Ok(pem)
}

fn unwritten(storage: &Storage, names: &[String], error: &std::io::Error) -> String {
    format!("{}: {error}", storage.path(names).display())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, Failed> {
    tokio::task::spawn_blocking(work).await.map_err(Failed::of)?.map_err(Failed::of)
}

async fn ordered(
    authority: &Acme,
    storage: &Storage,
    names: &[String],
    client: &Client,
    challenges: &Arc<Challenges>,
) -> Result<String, String> {
    let account = account(authority, storage, client).await?;
    let identifiers: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = match account.new_order(&NewOrder::new(&identifiers)).await {
        // The authority has forgotten it, as those for trials do now and then.
        Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
            storage.forget_account().map_err(said)?;
            let account = self::account(authority, storage, client).await?;
            account.new_order(&NewOrder::new(&identifiers)).await.map_err(said)?
        }
        order => order.map_err(said)?,
    };
    let turn = match authority.challenge {
        Challenge::Http => None,
        Challenge::TlsAlpn => Some(challenges.turn().await),
    };
    let answers = answer(&mut order, authority.challenge, challenges).await?;
    let ready = order.poll_ready(&POLLS).await;
    if !matches!(ready, Ok(OrderStatus::Ready)) {
        let refusal = refusal(&mut order).await;
        return Err(refusal.unwrap_or_else(|| ready.map_or_else(said, |_| "the order is invalid".to_owned())));
    }
    drop((answers, turn));
    let key = key(authority.key_type).map_err(said)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(said)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(said)?;
    order.finalize_csr(request.der()).await.map_err(said)?;
    let chain = order.poll_certificate(&POLLS).await.map_err(said)?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}

fn said(error: impl ToString) -> String {
    error.to_string()
}

fn key(kind: KeyType) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyType::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyType::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyType::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
    }
}

/// An account as it is kept.
#[derive(Serialize, Deserialize)]
struct Known {
    contact: Vec<String>,
    credentials: AccountCredentials,
}

/// The account that is kept, or another one.
async fn account(authority: &Acme, storage: &Storage, client: &Client) -> Result<Account, String> {
    let contact: Vec<&str> = authority.contact.iter().map(String::as_str).collect();
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let unusable = |error: &dyn std::fmt::Display| format!("the account that was kept cannot be used: {error}");
    let Some(kept) = storage.account().map_err(|error| unusable(&error))? else {
        let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let external = authority.eab.as_ref().map(external).transpose()?;
        let made = builder.create(&wanted, authority.directory.clone(), external.as_ref()).await;
        let (account, credentials) = made.map_err(said)?;
        keep(storage, Known { contact: authority.contact.clone(), credentials })?;
        tracing::info!(acme = &*authority.name, account = account.id(), "account made");
        return Ok(account);
    };
    let read = || serde_json::from_str::<Known>(&kept.text).map_err(|error| unusable(&error));
    let known = read()?;
    let account = builder.from_credentials(known.credentials).await.map_err(said)?;
    if known.contact != authority.contact {
        account.update_contacts(&contact).await.map_err(said)?;
        keep(storage, Known { contact: authority.contact.clone(), ..read()? })?;
    }
    Ok(account)
}

fn keep(storage: &Storage, known: Known) -> Result<(), String> {
    let text = serde_json::to_string_pretty(&known).map_err(said)?;
    storage.keep_account(&text).map_err(|error| format!("the account cannot be kept: {error}"))
}

/// The key of the account that the authority knows its customer by.
pub(super) fn external(eab: &Eab) -> Result<ExternalAccountKey, String> {
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", eab.key.display());
    let text = std::fs::read_to_string(&eab.key).map_err(|error| fault(&error))?;
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|error| fault(&error))?;
    Ok(ExternalAccountKey::new(eab.key_id.clone(), &key))
}

/// Put up what the authority wants to see of each name, and tell it so.
async fn answer(order: &mut Order, challenge: Challenge, challenges: &Arc<Challenges>) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(said)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let offered = authorization.challenge(kind(challenge));
        let mut offered = offered.ok_or_else(|| format!("{name}: the authority offers no {}", challenge.as_str()))?;
        answers.push(put_up(&offered, &name, challenge, challenges)?);
        offered.set_ready().await.map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(answers)
}

fn kind(challenge: Challenge) -> ChallengeType {
    match challenge {
        Challenge::Http => ChallengeType::Http01,
        Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
    }
}

fn put_up(
    offered: &ChallengeHandle<'_>,
    name: &str,
    challenge: Challenge,
    challenges: &Arc<Challenges>,
) -> Result<Answer, String> {
    let authorization = offered.key_authorization();
    match challenge {
        Challenge::Http => Ok(challenges.answer_http(&offered.token, authorization.as_str())),
        Challenge::TlsAlpn => {
            let digest = authorization.digest();
            let digest = <[u8; 32]>::try_from(digest.as_ref()).map_err(said)?;
            challenges.answer_tls(name, digest)
        }
    }
}

/// What the authority has against a name.
async fn refusal(order: &mut Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let state = authorization.refresh().await.ok()?;
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return Some(format!("{name}: {problem}"));
        }
    }
    None
}
