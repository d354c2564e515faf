//! Who is calling, and what changes in the request because of it.

use smallvec::SmallVec;

/// Somebody who was identified by an auth plugin, and what changes in the request because of it.
///
/// It is one piece of memory, unless its texts are long: of the grants that are remembered of ten thousand callers most are in no
/// cache of the processor, and each piece more is one more thing to wait for.
#[derive(Debug, PartialEq)]
pub struct Grant {
    /// Subject, scopes, plan, attributes' names and values, and fields' values, one behind the other, in UTF-8.
    text: SmallVec<[u8; INLINE_BYTES]>,
    /// Where each of them ends.
    ends: SmallVec<[u32; 8]>,
    has_plan: bool,
    attributes: u16,
    /// Places of fields among those that the plugin declared.
    fields: SmallVec<[u16; 4]>,
    /// Slots of credentials that nobody sees from here on.
    conceal: SmallVec<[u32; 4]>,
}

/// The texts before the attributes.
const FIRST_ATTRIBUTE: usize = 3;
/// So many bytes of text lie in the grant itself: enough for a name, some scopes and two fields.
const INLINE_BYTES: usize = 64;

impl Grant {
    /// A longer subject is a failure of the plugin: it is a key of limits and a field of the log.
    pub const MOST_SUBJECT_BYTES: usize = 1024;

    /// A grant to a subject with a plan, scopes with a space between, and attributes by name.
    #[must_use]
    pub fn new(subject: &str, plan: Option<&str>, scopes: &str, attributes: &[(String, String)]) -> Self {
        let mut grant = Self {
            text: SmallVec::new(),
            ends: SmallVec::new(),
            has_plan: plan.is_some(),
            attributes: u16::try_from(attributes.len()).unwrap_or(u16::MAX),
            fields: SmallVec::new(),
            conceal: SmallVec::new(),
        };
        let attributes = attributes.iter().take(grant.attributes.into());
        let attributes = attributes.flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        grant.add([subject, scopes, plan.unwrap_or_default()].into_iter().chain(attributes));
        grant
    }

    /// The same with credentials to conceal, by slot, and values of fields, by their places among those that were declared.
    #[must_use]
    pub fn with_changes(mut self, conceal: Vec<u32>, fields: &[(u16, String)]) -> Self {
        self.conceal = conceal.into();
        self.fields = fields.iter().map(|(place, _)| *place).collect();
        self.add(fields.iter().map(|(_, value)| value.as_str()));
        self
    }

    fn add<'a>(&mut self, texts: impl Iterator<Item = &'a str>) {
        for text in texts {
            self.text.extend_from_slice(text.as_bytes());
            self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
    }

    fn text(&self, index: usize) -> &str {
        let end = |index: usize| self.ends.get(index).map_or(0, |end| *end as usize);
        let start = index.checked_sub(1).map_or(0, end);
        let text = self.text.get(start..end(index)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Who it is, unique within the granting plugin; not empty.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.text(0)
    }

    /// What the caller may do, with a space between.
    #[must_use]
    pub fn scopes(&self) -> &str {
        self.text(1)
    }

    /// A plan of the configuration.
    #[must_use]
    pub fn plan(&self) -> Option<&str> {
        self.has_plan.then(|| self.text(2))
    }

    /// What later stages may ask for, by name.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.attributes.into()).map(|index| {
            let name = FIRST_ATTRIBUTE + 2 * index;
            (self.text(name), self.text(name + 1))
        })
    }

    /// The value of one attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Credentials that nobody sees from here on, by slot.
    pub fn conceal(&self) -> impl Iterator<Item = usize> {
        self.conceal.iter().map(|slot| *slot as usize)
    }

    /// Values that are set for the service, each with the place of its field among those that the plugin declared.
    pub fn fields(&self) -> impl Iterator<Item = (usize, &str)> {
        let first = FIRST_ATTRIBUTE + 2 * usize::from(self.attributes);
        self.fields.iter().enumerate().map(move |(index, place)| (usize::from(*place), self.text(first + index)))
    }

    pub(super) fn bytes(&self) -> usize {
        // What a few of them take beyond this is in what every entry counts.
        self.text.len() + size_of::<u32>() * (self.ends.len() + self.fields.len() + self.conceal.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            subject in ".{1,20}",
            plan in prop::option::of(".{0,8}"),
            scopes in ".{0,20}",
            attributes in prop::collection::vec((".{0,8}", ".{0,8}"), 0..6),
            conceal in prop::collection::vec(0_u32..64, 0..6),
            fields in prop::collection::vec((0_u16..64, ".{0,8}"), 0..8),
        ) {
            let grant = Grant::new(&subject, plan.as_deref(), &scopes, &attributes).with_changes(conceal.clone(), &fields);
            prop_assert_eq!((grant.subject(), grant.plan(), grant.scopes()), (&*subject, plan.as_deref(), &*scopes));
            let told: Vec<_> = grant.attributes().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(&told, &attributes);
            for (name, _) in &attributes {
                let first = attributes.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
                prop_assert_eq!(grant.attribute(name), first);
            }
            prop_assert!(grant.conceal().eq(conceal.iter().map(|slot| *slot as usize)));
            let told: Vec<_> = grant.fields().map(|(place, value)| (place as u16, value.to_owned())).collect();
            prop_assert_eq!(told, fields);
        }
    }
}
