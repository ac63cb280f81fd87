//! The seller and the buyer: what has to be known of them, and how it is written.

use super::{Missing, Xml, taxable};
use crate::domain::{Invoice, Party, TaxCategory};

/// What the rules ask of the parties: a country (BR-9, BR-11), an electronic address (Peppol R010,
/// R020), the seller's tax id when there is tax to speak of (BR-S-2 and its like) and any id
/// otherwise (BR-CO-26), the buyer's tax id where the buyer accounts for the tax (BR-AE-2, BR-IC-2),
/// and with a supply within the Union when it was (BR-IC-11).
pub(super) fn check(invoice: &Invoice, seller: &Party) -> Result<(), Missing> {
    let asked = invoice.document.asked();
    let buyer = &asked.party;
    let has = |category: TaxCategory| {
        let mut breakdown = invoice.document.breakdown().iter();
        breakdown.any(|s| s.tax.rate().category() == category)
    };
    let taxable = taxable(invoice);
    let intra = has(TaxCategory::IntraCommunity);
    let reverse = intra || has(TaxCategory::ReverseCharge);
    let known = !seller.legal_id.is_empty() || !seller.id.is_empty();
    for (holds, missing) in [
        (
            !seller.address.country_code.is_empty(),
            Missing::Asked("seller.address.country_code"),
        ),
        (
            !seller.endpoint_id.is_empty(),
            Missing::Asked("seller.endpoint_id"),
        ),
        (
            !seller.endpoint_scheme.is_empty(),
            Missing::Asked("seller.endpoint_scheme"),
        ),
        (
            !taxable || !seller.tax_id.is_empty(),
            Missing::Asked("seller.tax_id"),
        ),
        (taxable || known, Missing::Asked("seller.legal_id")),
        (
            !buyer.address.country_code.is_empty(),
            Missing::Kept("party.address.country_code"),
        ),
        (
            !buyer.endpoint_id.is_empty(),
            Missing::Kept("party.endpoint_id"),
        ),
        (
            !buyer.endpoint_scheme.is_empty(),
            Missing::Kept("party.endpoint_scheme"),
        ),
        (
            !reverse || !buyer.tax_id.is_empty(),
            Missing::Kept("party.tax_id"),
        ),
        (
            !intra || asked.delivery_time.is_some(),
            Missing::Kept("delivery_time"),
        ),
    ] {
        if !holds {
            return Err(missing);
        }
    }
    Ok(())
}

/// A party; its tax id only if the document is subject to tax.
pub(super) fn write(xml: &mut Xml, name: &str, party: &Party, taxable: bool) {
    let address = &party.address;
    xml.with(name, |xml| {
        xml.with("cac:Party", |xml| {
            let scheme = [("schemeID", party.endpoint_scheme.as_str())];
            xml.noted("cbc:EndpointID", &scheme, &party.endpoint_id);
            if !party.id.is_empty() {
                xml.with("cac:PartyIdentification", |xml| {
                    xml.text("cbc:ID", &party.id);
                });
            }
            xml.with("cac:PartyName", |xml| xml.text("cbc:Name", &party.name));
            xml.with("cac:PostalAddress", |xml| {
                xml.optional("cbc:StreetName", &address.street);
                xml.optional("cbc:AdditionalStreetName", &address.additional);
                xml.optional("cbc:CityName", &address.city);
                xml.optional("cbc:PostalZone", &address.postal_code);
                xml.optional("cbc:CountrySubentity", &address.subdivision);
                xml.with("cac:Country", |xml| {
                    xml.text("cbc:IdentificationCode", &address.country_code);
                });
            });
            if taxable && !party.tax_id.is_empty() {
                xml.with("cac:PartyTaxScheme", |xml| {
                    xml.text("cbc:CompanyID", &party.tax_id);
                    xml.with("cac:TaxScheme", |xml| xml.text("cbc:ID", "VAT"));
                });
            }
            xml.with("cac:PartyLegalEntity", |xml| {
                xml.text("cbc:RegistrationName", &party.name);
                xml.optional("cbc:CompanyID", &party.legal_id);
            });
        });
    });
}
