//! The words of a header cell: what each means, however it is spelt.

/// What a word of a header means. Words of one meaning are one `Word`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Word {
    Transaction,
    Document,
    Voucher,
    Payment,
    Paid,
    Invoice,
    Order,
    Reference,
    Number,
    Id,
    Code,
    Amount,
    Value,
    Total,
    Sum,
    Spend,
    Net,
    Gross,
    Excluding,
    Including,
    Vat,
    Currency,
    Sterling,
    Supplier,
    Merchant,
    Name,
    Date,
    Month,
    Category,
    Purpose,
    Description,
    Expenditure,
    Type,
    Capital,
    Revenue,
    Area,
    Unit,
    Department,
    Division,
    Service,
    Account,
    Centre,
    Contract,
    Card,
    Company,
    Charity,
    Registration,
    Postcode,
    Body,
    Budget,
    Discount,
    Balance,
    Payer,
    Posting,
    Irrecoverable,
}

use Word::*;

/// Every spelling that is known, in lower case.
const VOCABULARY: &[(&str, Word)] = &[
    ("transaction", Transaction),
    ("trans", Transaction),
    ("tran", Transaction),
    ("txn", Transaction),
    ("trx", Transaction),
    ("journal", Transaction),
    ("document", Document),
    ("doc", Document),
    ("voucher", Voucher),
    ("payment", Payment),
    ("payments", Payment),
    ("cheque", Payment),
    ("bacs", Payment),
    ("paid", Paid),
    ("pay", Paid),
    ("invoice", Invoice),
    ("inv", Invoice),
    ("order", Order),
    ("po", Order),
    ("reference", Reference),
    ("ref", Reference),
    ("number", Number),
    ("no", Number),
    ("num", Number),
    ("nr", Number),
    ("nbr", Number),
    ("id", Id),
    ("identifier", Id),
    ("uid", Id),
    ("code", Code),
    ("amount", Amount),
    ("amt", Amount),
    ("value", Value),
    ("total", Total),
    ("sum", Sum),
    ("spend", Spend),
    ("spent", Spend),
    ("cost", Spend),
    ("net", Net),
    ("gross", Gross),
    ("excluding", Excluding),
    ("excl", Excluding),
    ("exc", Excluding),
    ("ex", Excluding),
    ("without", Excluding),
    ("exclusive", Excluding),
    ("less", Excluding),
    ("including", Including),
    ("incl", Including),
    ("inc", Including),
    ("inclusive", Including),
    ("vat", Vat),
    ("tax", Vat),
    ("duty", Vat),
    ("currency", Currency),
    ("ccy", Currency),
    ("curr", Currency),
    ("gbp", Sterling),
    ("£", Sterling),
    ("pounds", Sterling),
    ("sterling", Sterling),
    ("supplier", Supplier),
    ("vendor", Supplier),
    ("payee", Supplier),
    ("creditor", Supplier),
    ("beneficiary", Supplier),
    ("recipient", Supplier),
    ("provider", Supplier),
    ("contractor", Supplier),
    ("merchant", Merchant),
    ("name", Name),
    ("date", Date),
    ("dated", Date),
    ("month", Month),
    ("period", Month),
    ("quarter", Month),
    ("year", Month),
    ("category", Category),
    ("categorisation", Category),
    ("categorization", Category),
    ("classification", Category),
    ("subjective", Category),
    ("purpose", Purpose),
    ("description", Description),
    ("desc", Description),
    ("narrative", Description),
    ("details", Description),
    ("detail", Description),
    ("summary", Description),
    ("expenditure", Expenditure),
    ("expense", Expenditure),
    ("expenses", Expenditure),
    ("exp", Expenditure),
    ("type", Type),
    ("capital", Capital),
    ("cap", Capital),
    ("caporrev", Capital),
    ("revcap", Capital),
    ("revenue", Revenue),
    ("rev", Revenue),
    ("area", Area),
    ("unit", Unit),
    ("organisational", Unit),
    ("organizational", Unit),
    ("department", Department),
    ("dept", Department),
    ("directorate", Department),
    ("division", Division),
    ("service", Service),
    ("section", Division),
    ("team", Division),
    ("account", Account),
    ("ledger", Account),
    ("nominal", Account),
    ("centre", Centre),
    ("center", Centre),
    ("contract", Contract),
    ("card", Card),
    ("company", Company),
    ("charity", Charity),
    ("registration", Registration),
    ("postcode", Postcode),
    ("post", Postcode),
    ("address", Postcode),
    ("body", Body),
    ("client", Body),
    ("organisation", Body),
    ("organization", Body),
    ("entity", Body),
    ("authority", Body),
    ("council", Body),
    ("budget", Budget),
    ("discount", Discount),
    ("balance", Balance),
    ("payer", Payer),
    ("posting", Posting),
    ("posted", Posting),
    ("effective", Posting),
    ("clearing", Posting),
    ("due", Posting),
    ("received", Posting),
    ("irrecoverable", Irrecoverable),
    ("recoverable", Irrecoverable),
];

/// The set of meanings of one header cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Words(u64);

impl Words {
    /// What the words of a header cell mean; unknown words mean nothing.
    pub(crate) fn read(cell: &str) -> Self {
        let mut words = Self::default();
        for word in split(cell) {
            if let Some(meaning) = meaning(&word) {
                words.0 |= bit(meaning);
            }
        }
        words
    }

    /// Whether the cell has this word.
    pub(crate) fn has(self, word: Word) -> bool {
        self.0 & bit(word) != 0
    }

    /// Whether the cell has any of these.
    pub(crate) fn has_any(self, words: &[Word]) -> bool {
        words.iter().any(|w| self.has(*w))
    }

    /// Whether the cell has at least one of these and no known word besides.
    pub(crate) fn only(self, words: &[Word]) -> bool {
        let allowed = words.iter().fold(0, |set, w| set | bit(*w));
        self.0 != 0 && self.0 & !allowed == 0
    }
}

fn bit(word: Word) -> u64 {
    1 << (word as u8)
}

/// The words of a cell in lower case: `Trans No`, `trans_no`, `TransNo` and `TRANS.NO` are two
/// words each. The pound sign is a word of its own.
fn split(cell: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut last = ' ';
    for c in cell.chars() {
        let begins = c == '£' || (c.is_uppercase() && last.is_lowercase());
        if begins || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric() || c == '£') {
            word.extend(c.to_lowercase());
        }
        last = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The meaning of a word, exactly as known or nearly so: one slip in a word of at least five
/// letters (`catergory`), two from nine on.
fn meaning(word: &str) -> Option<Word> {
    let exact = VOCABULARY.iter().find(|(known, _)| *known == word);
    let near = || {
        VOCABULARY
            .iter()
            .map(|(known, meaning)| (slips(word, known), known, meaning))
            .filter(|(slips, known, _)| *slips <= slips_allowed(known))
            .min_by_key(|(slips, ..)| *slips)
            .map(|(.., meaning)| *meaning)
    };
    let spelt_in_letters = word.len() >= 4 && word.bytes().all(|b| b.is_ascii_lowercase());
    match exact {
        Some((_, meaning)) => Some(*meaning),
        None if spelt_in_letters => near(),
        None => None,
    }
}

fn slips_allowed(known: &str) -> usize {
    match known.chars().count() {
        0..=4 => 0,
        5..=8 => 1,
        _ => 2,
    }
}

/// How many letters are wrong, missing, too many or swapped. Only worth counting when the lengths
/// are near each other.
fn slips(word: &str, known: &str) -> usize {
    if word.len().abs_diff(known.len()) > 2 {
        return usize::MAX;
    }
    strsim::osa_distance(word, known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_header_mean_the_same() {
        for cell in [
            "Trans No",
            "trans_no",
            "TransNo",
            "TRANS. NO.",
            "Transaction Number",
            "transaction  number",
            "Transacton Number",
            "trans-no",
        ] {
            let words = Words::read(cell);
            assert!(words.has(Transaction) && words.has(Number), "{cell}");
            assert!(words.only(&[Transaction, Number]), "{cell}");
        }
        for (cell, word) in [
            ("Expenditure Catergory", Category),
            ("Suplier Name", Supplier),
            ("Beneficary", Supplier),
            ("Ammount", Amount),
            ("Amount£", Sterling),
            ("Payments", Payment),
            ("Referance", Reference),
        ] {
            assert!(Words::read(cell).has(word), "{cell}");
        }
    }

    #[test]
    fn words_that_look_alike_keep_their_own_meaning() {
        assert!(Words::read("account").only(&[Account]));
        assert!(Words::read("payer").only(&[Payer]));
        assert!(Words::read("payee").only(&[Supplier]));
        assert!(Words::read("contract").only(&[Contract]));
        assert!(Words::read("contractor").only(&[Supplier]));
        assert_eq!(Words::read("Infomill"), Words::default());
    }

    #[test]
    fn every_word_has_a_bit_of_its_own() {
        assert!((Irrecoverable as u32) < u64::BITS);
    }

    proptest! {
        #[test]
        fn any_cell_is_answered(cell in "\\PC{0,40}") {
            let _ = Words::read(&cell);
        }
    }
}
