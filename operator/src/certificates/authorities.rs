//! A cluster's authorities: the one that signs, the one that will, and those that are still believed.

use outrigger_tls::{
    Authority, BACKDATED_SECONDS, Cluster, Identity, IssueError, Issued, Leaf, Material, Validity, Window,
};

use super::{BUNDLE, Certificates, Files, Lifetimes, issued, pem};

const SIGNER: &str = "ca";
const NEXT: &str = "next";
const FORMER: &str = "former.crt";
const END: &str = "-----END CERTIFICATE-----";

/// One that can sign.
struct Signing {
    authority: Authority,
    validity: Validity,
}

impl Signing {
    fn mint(cluster: &Cluster, now: i64, lifetimes: Lifetimes) -> Result<Self, IssueError> {
        let lifetime = lifetimes.authority;
        let authority = Authority::mint(cluster, Window { now, lifetime })?;
        Ok(Self { authority, validity: Validity { from: now - BACKDATED_SECONDS, until: now + lifetime } })
    }

    /// What cannot be read, whose key is another's or whose time is over can sign nothing.
    fn load(files: &Files, name: &str, cluster: &Cluster, now: i64) -> Option<Self> {
        let issued = issued(files, name)?;
        let authority = Authority::load(cluster, issued).ok()?;
        let validity = authority.validity().ok()?;
        let probe = authority.issue(
            &Leaf { identity: Identity::operator(cluster.clone()), dns_names: Vec::new() },
            Window { now, lifetime: BACKDATED_SECONDS },
        );
        let is_good = |leaf: &Issued| signed_by(leaf, &authority.issued().certificate, now).is_some();
        probe.ok().filter(is_good).map(|_| Self { authority, validity })
    }

    fn made(&self) -> i64 {
        self.validity.from + BACKDATED_SECONDS
    }

    fn certificate(&self) -> &str {
        &self.authority.issued().certificate
    }
}

/// Those of one cluster. At least one of the first two is there once [`Authorities::advance`] was called.
pub(super) struct Authorities {
    signs: Option<Signing>,
    next: Option<Signing>,
    /// Each a certificate's text.
    former: Vec<String>,
}

impl Authorities {
    pub(super) fn read(kept: &Certificates, cluster: &Cluster, now: i64) -> Self {
        let load = |name: &str| Signing::load(&kept.authority, name, cluster, now);
        let (signs, next) = (load(SIGNER), load(NEXT));
        let known: Vec<String> =
            [&signs, &next].into_iter().flatten().map(|one| one.certificate().to_owned()).collect();
        let mut former = split(kept.authority.get(FORMER));
        if signs.is_none() {
            // The signing key was lost: what members believe is not forgotten because of that.
            former.extend(split(kept.members.get(BUNDLE)));
        }
        former.retain(|one| !known.contains(one) && is_current(one, now));
        former.sort();
        former.dedup();
        Self { signs, next, former }
    }

    /// Mints and promotes what its time has come for.
    pub(super) fn advance(
        &mut self,
        cluster: &Cluster,
        now: i64,
        lifetimes: Lifetimes,
    ) -> Result<(), IssueError> {
        if self.next.as_ref().is_some_and(|next| now >= next.made() + lifetimes.overlap) {
            self.former.extend(self.signs.take().map(|signs| signs.certificate().to_owned()));
            self.signs = self.next.take();
        }
        let is_old = self.signs.as_ref().is_some_and(|signs| now >= signs.validity.two_thirds());
        if self.signs.is_none() && self.former.is_empty() && self.next.is_none() {
            // Nobody believes anything yet.
            self.signs = Some(Signing::mint(cluster, now, lifetimes)?);
        } else if self.next.is_none() && (is_old || self.signs.is_none()) {
            self.next = Some(Signing::mint(cluster, now, lifetimes)?);
        }
        Ok(())
    }

    /// Who signs new certificates.
    pub(super) fn signer(&self) -> &Authority {
        let signer = self.signs.as_ref().or(self.next.as_ref());
        #[allow(clippy::expect_used, reason = "advance leaves one of the two")]
        &signer.expect("advance was called").authority
    }

    /// Whether a certificate stays: it is this name's, still good for a third of its time, and signed by whoever signs; where that
    /// one's key was lost, by anybody who is believed.
    pub(super) fn keeps(&self, leaf: &Issued, identity: &Identity, now: i64) -> bool {
        let believed = match &self.signs {
            Some(signs) => signs.certificate().to_owned(),
            None => self.bundle(),
        };
        signed_by(leaf, &believed, now)
            .is_some_and(|material| material.identity() == identity && now < material.validity().two_thirds())
    }

    /// Forgets the former ones once every certificate, the newest of which was made at `newest`, has surely reached its member.
    pub(super) fn forget_former(&mut self, newest: Option<i64>, now: i64, overlap: i64) {
        if self.signs.is_some() && newest.is_none_or(|newest| now >= newest + overlap) {
            self.former.clear();
        }
    }

    /// All that are believed, the signing one first.
    pub(super) fn bundle(&self) -> String {
        let present = [&self.signs, &self.next].into_iter().flatten().map(Signing::certificate);
        present.chain(self.former.iter().map(String::as_str)).collect()
    }

    pub(super) fn into_files(self) -> Files {
        let mut files = Files::new();
        for (name, signing) in [(SIGNER, self.signs), (NEXT, self.next)] {
            if let Some(signing) = signing {
                let issued = signing.authority.issued().clone();
                files.insert(format!("{name}.crt"), issued.certificate);
                files.insert(format!("{name}.key"), issued.key);
            }
        }
        if !self.former.is_empty() {
            files.insert(FORMER.to_owned(), self.former.concat());
        }
        files
    }
}

/// The certificate, if its key is its own and one of these authorities stands for it now.
fn signed_by(leaf: &Issued, authorities: &str, now: i64) -> Option<Material> {
    let material = Material::read(&pem(leaf, authorities)).ok()?;
    material.check(now).ok()?;
    Some(material)
}

/// The certificates in a text, each as it stands there.
fn split(bundle: Option<&String>) -> Vec<String> {
    let Some(bundle) = bundle else { return Vec::new() };
    let each = bundle.split_inclusive(END).map(|one| format!("{}\n", one.trim()));
    each.filter(|one| one.trim_end().ends_with(END)).collect()
}

fn is_current(certificate: &str, now: i64) -> bool {
    Validity::of_pem(certificate).is_ok_and(|validity| now <= validity.until)
}
