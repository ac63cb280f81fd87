//! Reads a party.

use mizan::status::Violations;
use mizan_contracts::invoice::v1 as wire;

use super::{plain_required, plain_text};
use crate::domain::{Address, Party};

/// The most characters of a name, of a party's id, which is the caller's own, and of the parts of
/// an address.
const NAME_CHARS_MAX: usize = 256;
/// The most characters of an identifier.
const IDENTIFIER_CHARS_MAX: usize = 64;

/// The party in a field.
pub(crate) fn party(
    field: &str,
    party: Option<&wire::Party>,
    violations: &mut Violations,
) -> Option<Party> {
    let Some(party) = party else {
        violations.add(field, "is required");
        return None;
    };
    let at = |name: &str| format!("{field}.{name}");
    plain_text(NAME_CHARS_MAX, &at("party_id"), &party.party_id, violations);
    plain_required(NAME_CHARS_MAX, &at("name"), &party.name, violations);
    for (name, value) in [
        ("tax_id", &party.tax_id),
        ("legal_id", &party.legal_id),
        ("endpoint_id", &party.endpoint_id),
        ("endpoint_scheme", &party.endpoint_scheme),
    ] {
        plain_text(IDENTIFIER_CHARS_MAX, &at(name), value, violations);
    }
    let given = party.address.clone().unwrap_or_default();
    let address = Address {
        street: given.street,
        additional: given.additional,
        city: given.city,
        postal_code: given.postal_code,
        subdivision: given.subdivision,
        country_code: given.country_code,
    };
    for (name, value) in [
        ("street", &address.street),
        ("additional", &address.additional),
        ("city", &address.city),
        ("postal_code", &address.postal_code),
        ("subdivision", &address.subdivision),
    ] {
        let name = at(&format!("address.{name}"));
        plain_text(NAME_CHARS_MAX, &name, value, violations);
    }
    let country = &address.country_code;
    violations.require(
        country.is_empty()
            || (country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase())),
        at("address.country_code"),
        "is not two capital letters",
    );
    Some(Party {
        id: party.party_id.clone(),
        name: party.name.clone(),
        tax_id: party.tax_id.clone(),
        legal_id: party.legal_id.clone(),
        address,
        endpoint_id: party.endpoint_id.clone(),
        endpoint_scheme: party.endpoint_scheme.clone(),
    })
}
