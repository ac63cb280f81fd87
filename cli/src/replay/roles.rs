//! What columns may hold, and how well a header's words say so.

use super::words::{
    Word::{self, *},
    Words,
};

/// A fact of a payment that a column may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Reference,
    Amount,
    Currency,
    SupplierName,
    SupplierId,
    Date,
    Category,
    Code,
    Unit,
    Kind,
}

/// All roles. An earlier one has the first choice of the columns.
pub(crate) const ROLES: [Role; 10] = [
    Role::Reference,
    Role::Amount,
    Role::Currency,
    Role::SupplierName,
    Role::SupplierId,
    Role::Date,
    Role::Category,
    Role::Code,
    Role::Unit,
    Role::Kind,
];

/// Words that make a number somebody else's, or no number at all.
const NOT_OURS: &[Word] = &[
    Supplier,
    Merchant,
    Vat,
    Registration,
    Company,
    Charity,
    Contract,
    Card,
    Postcode,
    Account,
    Centre,
    Date,
    Month,
    Amount,
    Value,
    Type,
    Category,
    Description,
    Expenditure,
    Body,
    Name,
];

/// Words that make a sum of money a different one, or no sum at all.
const NOT_PAID: &[Word] = &[
    Date,
    Month,
    Code,
    Number,
    Id,
    Reference,
    Type,
    Category,
    Description,
    Name,
    Budget,
    Discount,
    Balance,
    Contract,
    Area,
    Unit,
    Order,
    Supplier,
    Merchant,
    Body,
    Centre,
    Account,
];

impl Role {
    /// How well a header fits the role; 0 means not at all.
    pub(crate) fn fit(self, words: Words) -> u8 {
        match self {
            Self::Reference => reference(words),
            Self::Amount => amount(words),
            Self::Currency => u8::from(words.has(Currency) && words.only(&[Currency, Code, Type])),
            Self::SupplierName => supplier_name(words),
            Self::SupplierId => supplier_id(words),
            Self::Date => date(words),
            Self::Category => category(words),
            Self::Code => code(words),
            Self::Unit => unit(words),
            Self::Kind => kind(words),
        }
    }
}

/// The payer's own number of the payment comes first, then that of the voucher or the document,
/// then any reference, then the invoice's, which is the supplier's own.
fn reference(words: Words) -> u8 {
    if words.has_any(NOT_OURS) {
        return 0;
    }
    let numbered = words.has_any(&[Number, Id, Reference]);
    if words.has(Transaction) && numbered {
        7
    } else if words.only(&[Transaction]) {
        6
    } else if words.has_any(&[Voucher, Document]) {
        5
    } else if words.has_any(&[Payment, Paid]) && numbered {
        4
    } else if words.only(&[Reference, Number, Id]) && words.has(Reference) {
        3
    } else if words.has(Invoice) && !words.has(Order) && numbered {
        2
    } else {
        0
    }
}

/// What was paid. "Amount" as such comes first; of a net and a gross amount, net: it is what the
/// publication rules ask for. The VAT alone is never it.
fn amount(words: Words) -> u8 {
    let of_vat =
        words.has_any(&[Vat, Irrecoverable]) && !words.has_any(&[Excluding, Including, Net, Gross]);
    if words.has_any(NOT_PAID) || of_vat {
        return 0;
    }
    let money = [Amount, Value, Total, Sum, Spend];
    let bare = [
        Amount,
        Sterling,
        Currency,
        Paid,
        Payment,
        Transaction,
        Expenditure,
    ];
    if words.has(Amount) && words.only(&bare) {
        7
    } else if words.has_any(&[Net, Excluding])
        && (words.has_any(&money) || words.only(&[Net, Sterling]))
    {
        6
    } else if words.has_any(&[Gross, Including])
        && (words.has_any(&money) || words.only(&[Gross, Sterling]))
    {
        5
    } else if words.has_any(&[Amount, Value]) {
        4
    } else if words.has_any(&money) && !words.has_any(&[Purpose, Service, Department]) {
        3
    } else if words.has(Sterling) && words.only(&[Sterling, Paid, Payment]) {
        2
    } else {
        0
    }
}

fn supplier_name(words: Words) -> u8 {
    let other = [
        Id,
        Number,
        Code,
        Reference,
        Postcode,
        Type,
        Category,
        Vat,
        Registration,
        Date,
        Amount,
        Value,
        Description,
        Charity,
        Contract,
        Invoice,
        Order,
        Account,
        Total,
        Spend,
    ];
    if words.has_any(&other) {
        0
    } else if words.has(Supplier) {
        if words.has(Name) { 5 } else { 4 }
    } else if words.has(Merchant) {
        3
    } else if words.has(Company) && words.only(&[Company, Name]) {
        2
    } else {
        u8::from(words.only(&[Name]))
    }
}

fn supplier_id(words: Words) -> u8 {
    let other = [
        Vat,
        Registration,
        Company,
        Charity,
        Postcode,
        Contract,
        Invoice,
        Order,
        Category,
        Type,
        Date,
        Amount,
    ];
    let numbered = words.has_any(&[Id, Number, Code, Reference]);
    if !numbered || words.has_any(&other) {
        0
    } else if words.has(Supplier) {
        2
    } else {
        u8::from(words.has(Merchant))
    }
}

fn date(words: Words) -> u8 {
    if !words.has(Date) {
        0
    } else if words.has_any(&[Paid, Payment]) {
        4
    } else if words.only(&[Date]) {
        3
    } else if words.has_any(&[Invoice, Order, Contract]) {
        1
    } else {
        2
    }
}

fn category(words: Words) -> u8 {
    if words.has_any(&[
        Code, Id, Number, Date, Amount, Supplier, Area, Department, Division, Unit, Service,
    ]) {
        0
    } else if words.has(Category) {
        5
    } else if words.has(Purpose) {
        4
    } else if words.has(Description) {
        3
    } else if words.has(Expenditure) && words.has(Type) {
        // "Expense Type", unless a better column leaves it to be the kind.
        2
    } else {
        u8::from(words.has(Account) && words.has(Name))
    }
}

fn code(words: Words) -> u8 {
    if !words.has(Code)
        || words.has_any(&[
            Supplier,
            Merchant,
            Transaction,
            Currency,
            Vat,
            Body,
            Postcode,
        ])
    {
        0
    } else if words.has(Expenditure) {
        3
    } else if words.has_any(&[Account, Category, Centre]) {
        2
    } else {
        1
    }
}

fn unit(words: Words) -> u8 {
    if words.has_any(&[Code, Id, Number, Date, Amount, Supplier, Type, Description]) {
        0
    } else if words.has(Unit) {
        5
    } else if words.has(Service) {
        4
    } else if words.has_any(&[Department, Division]) {
        3
    } else if words.has(Area) {
        2
    } else {
        u8::from(words.has(Centre) && words.has(Name))
    }
}

fn kind(words: Words) -> u8 {
    if words.has_any(&[Code, Date, Amount, Supplier, Body, Vat]) {
        0
    } else if words.has_any(&[Capital, Revenue]) {
        3
    } else if words.has(Type) && words.only(&[Type, Expenditure]) {
        2
    } else {
        0
    }
}
