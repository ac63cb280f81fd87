//! The words of the report in three languages; its sentences come with the assessment.

use mizan_contracts::zakat::v1::{Item, PartKind, PartState};

/// The words of one language.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) title: &'static str,
    pub(crate) owner: &'static str,
    pub(crate) policy: &'static str,
    pub(crate) version: &'static str,
    pub(crate) day: &'static str,
    pub(crate) currency: &'static str,
    pub(crate) gold: &'static str,
    pub(crate) silver: &'static str,
    pub(crate) a_gram: &'static str,
    pub(crate) hawl: &'static str,
    pub(crate) calendar: &'static str,
    pub(crate) complete: &'static str,
    pub(crate) incomplete: &'static str,
    pub(crate) as_stated: &'static str,
    pub(crate) from: &'static str,
    pub(crate) over_on: &'static str,
    pub(crate) next_over_on: &'static str,
    pub(crate) owned: &'static str,
    /// The header of what is owned.
    pub(crate) owned_columns: [&'static str; 4],
    pub(crate) debts_taken_off: &'static str,
    pub(crate) due: &'static str,
    /// The header of what is due.
    pub(crate) due_columns: [&'static str; 6],
    pub(crate) any_one_of: &'static str,
    pub(crate) or: &'static str,
    pub(crate) and: &'static str,
    /// With the place `{}` for how many.
    pub(crate) more: &'static str,
    pub(crate) missing: &'static str,
    pub(crate) total: &'static str,
    pub(crate) not_wholly: &'static str,
    pub(crate) why: &'static str,
    pub(crate) sources: &'static str,
    states: [&'static str; 3],
    parts: [&'static str; 9],
    items: [&'static str; 9],
}

impl Words {
    /// The words of a language by its tag; English for any other.
    pub(crate) fn of(language: &str) -> &'static Self {
        match language {
            "id" => &INDONESIAN,
            "ar" => &ARABIC,
            _ => &ENGLISH,
        }
    }

    /// How a part came out, but for what is missing.
    pub(crate) const fn state(&self, state: PartState) -> &'static str {
        let [due, not_due, hawl] = self.states;
        match state {
            PartState::Due => due,
            PartState::NotDue => not_due,
            PartState::HawlIncomplete => hawl,
            PartState::NotComputed | PartState::Unspecified => "",
        }
    }

    /// What a part is about.
    pub(crate) const fn part(&self, kind: PartKind) -> &'static str {
        let [
            wealth,
            metal,
            income,
            rental,
            crop,
            herd,
            mineral,
            rikaz,
            fitrah,
        ] = self.parts;
        match kind {
            PartKind::Unspecified => "",
            PartKind::Wealth => wealth,
            PartKind::Metal => metal,
            PartKind::Income => income,
            PartKind::Rental => rental,
            PartKind::Crop => crop,
            PartKind::Herd => herd,
            PartKind::Mineral => mineral,
            PartKind::Rikaz => rikaz,
            PartKind::Fitrah => fitrah,
        }
    }

    /// What is given in kind.
    pub(crate) const fn item(&self, item: Item) -> &'static str {
        let [
            sheep,
            makhad,
            labun,
            hiqqah,
            jadhaah,
            tabi,
            musinnah,
            crop,
            staple,
        ] = self.items;
        match item {
            Item::Unspecified => "",
            Item::Sheep => sheep,
            Item::BintMakhad => makhad,
            Item::BintLabun => labun,
            Item::Hiqqah => hiqqah,
            Item::Jadhaah => jadhaah,
            Item::Tabi => tabi,
            Item::Musinnah => musinnah,
            Item::CropKg => crop,
            Item::StapleKg => staple,
        }
    }
}

static ENGLISH: Words = Words {
    title: "ZAKAT ASSESSMENT",
    owner: "owner",
    policy: "policy",
    version: "version",
    day: "day",
    currency: "currency",
    gold: "gold",
    silver: "silver",
    a_gram: "a gram",
    hawl: "hawl",
    calendar: "calendar",
    complete: "complete",
    incomplete: "not complete",
    as_stated: "as stated",
    from: "from",
    over_on: "over on",
    next_over_on: "next over on",
    owned: "WHAT IS OWNED",
    owned_columns: ["ASSET", "VALUE", "COUNTED", "RULE"],
    debts_taken_off: "Debts taken off",
    due: "WHAT IS DUE",
    due_columns: ["PART", "OF", "NISAB", "RATE", "", "DUE"],
    any_one_of: "any one of:",
    or: " or ",
    and: " and ",
    more: "or one of {} more",
    missing: "missing",
    total: "TOTAL DUE IN MONEY",
    not_wholly: "Some parts could not be computed: the total is of the others.",
    why: "WHY",
    sources: "SOURCES",
    states: ["due", "not due", "year not over"],
    parts: [
        "wealth", "metal", "income", "rental", "crop", "herd", "mineral", "rikaz", "fitrah",
    ],
    items: [
        "sheep",
        "bint makhad",
        "bint labun",
        "hiqqah",
        "jadha'ah",
        "tabi'",
        "musinnah",
        "kg of the harvest",
        "kg of staple food",
    ],
};

static INDONESIAN: Words = Words {
    title: "PERHITUNGAN ZAKAT",
    owner: "pemilik",
    policy: "kebijakan",
    version: "versi",
    day: "tanggal",
    currency: "mata uang",
    gold: "emas",
    silver: "perak",
    a_gram: "per gram",
    hawl: "haul",
    calendar: "kalender",
    complete: "genap",
    incomplete: "belum genap",
    as_stated: "menurut pernyataan pemilik",
    from: "sejak",
    over_on: "genap",
    next_over_on: "berikutnya",
    owned: "HARTA",
    owned_columns: ["HARTA", "NILAI", "DIHITUNG", "ATURAN"],
    debts_taken_off: "Utang yang dikurangkan",
    due: "YANG WAJIB",
    due_columns: ["BAGIAN", "DARI", "NISAB", "KADAR", "", "WAJIB"],
    any_one_of: "salah satu dari:",
    or: " atau ",
    and: " dan ",
    more: "atau salah satu dari {} lainnya",
    missing: "tidak ada",
    total: "JUMLAH WAJIB DALAM UANG",
    not_wholly: "Sebagian tidak dapat dihitung; jumlah ini dari bagian lainnya.",
    why: "ALASAN",
    sources: "SUMBER",
    states: ["wajib", "tidak wajib", "haul belum genap"],
    parts: [
        "harta",
        "logam",
        "penghasilan",
        "sewa",
        "panen",
        "ternak",
        "tambang",
        "rikaz",
        "fitrah",
    ],
    items: [
        "kambing",
        "bintu makhad",
        "bintu labun",
        "hiqqah",
        "jadza'ah",
        "tabi'",
        "musinnah",
        "kg hasil panen",
        "kg makanan pokok",
    ],
};

static ARABIC: Words = Words {
    title: "حساب الزكاة",
    owner: "المالك",
    policy: "المذهب",
    version: "الإصدار",
    day: "اليوم",
    currency: "العملة",
    gold: "الذهب",
    silver: "الفضة",
    a_gram: "للغرام",
    hawl: "الحول",
    calendar: "التقويم",
    complete: "تام",
    incomplete: "غير تام",
    as_stated: "بإقرار المالك",
    from: "من",
    over_on: "تم في",
    next_over_on: "ويتم التالي في",
    owned: "المال",
    owned_columns: ["المال", "القيمة", "المحتسب", "القاعدة"],
    debts_taken_off: "الديون المخصومة",
    due: "الواجب",
    due_columns: ["الجزء", "من", "النصاب", "النسبة", "", "الواجب"],
    any_one_of: "واحد مما يلي:",
    or: " أو ",
    and: " و",
    more: "أو واحد من {} غيرها",
    missing: "غير معطى",
    total: "مجموع الواجب نقدا",
    not_wholly: "تعذر حساب بعض الأجزاء، والمجموع لما سواها.",
    why: "التعليل",
    sources: "المصادر",
    states: ["واجب", "غير واجب", "لم يتم الحول"],
    parts: [
        "المال",
        "المعدن",
        "الدخل",
        "الأجرة",
        "الزرع",
        "الماشية",
        "المستخرج",
        "الركاز",
        "الفطرة",
    ],
    items: [
        "شاة",
        "بنت مخاض",
        "بنت لبون",
        "حقة",
        "جذعة",
        "تبيع",
        "مسنة",
        "كغ من الزرع",
        "كغ من القوت",
    ],
};
