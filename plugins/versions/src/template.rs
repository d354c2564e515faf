//! Paths for services, made of what a route's pattern captured.

use gatewright_plugin::path::Pattern;

/// A path with places for captures.
#[derive(Clone)]
pub struct Template(Vec<Piece>);

#[derive(Clone)]
enum Piece {
    /// One or more whole segments, each with its slash.
    Text(String),
    Capture(String),
}

impl Template {
    /// Reads a template, in which braces stand for captures of `of`.
    ///
    /// # Errors
    /// The name of a capture that the pattern does not have.
    pub fn new(template: &Pattern, of: &Pattern) -> Result<Self, String> {
        if let Some(name) = template.names().find(|name| !of.names().any(|had| had == *name)) {
            return Err(format!("`{template}`: `{name}` is not in `{of}`"));
        }
        let text = template.to_string();
        let piece = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => Piece::Capture(name.strip_prefix('*').unwrap_or(name).to_string()),
            None => Piece::Text(format!("/{segment}")),
        };
        Ok(Self(text.split('/').filter(|segment| !segment.is_empty()).map(piece).collect()))
    }

    /// The path; a capture of nothing leaves no slash.
    pub fn fill(&self, captures: &[(&str, &str)]) -> String {
        let mut path = String::with_capacity(64);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Capture(name) => {
                    let captured = captures.iter().find(|(had, _)| had == name).map(|(_, part)| *part);
                    if let Some(part) = captured.filter(|part| !part.is_empty()) {
                        path.push('/');
                        path.push_str(part);
                    }
                }
            }
        }
        if path.is_empty() { "/".to_string() } else { path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, of: &str, path: &str) -> Result<String, String> {
        let pattern = |text: &str| Pattern::parse(text).expect("a pattern");
        let of = pattern(of);
        Ok(Template::new(&pattern(template), &of)?.fill(&of.captures(path).expect("a match")))
    }

    #[test]
    fn captures_take_their_places() {
        assert_eq!(fill("/i/{id}/o", "/orders/{id}", "/orders/7"), Ok("/i/7/o".into()));
        assert_eq!(fill("/i/{*rest}", "/orders/{*rest}", "/orders/7/x"), Ok("/i/7/x".into()));
        assert_eq!(fill("/i/{*rest}", "/orders/{*rest}", "/orders"), Ok("/i".into()));
        assert_eq!(fill("/{*rest}", "/orders/{*rest}", "/orders"), Ok("/".into()));
        assert_eq!(fill("/", "/orders", "/orders"), Ok("/".into()));
    }

    #[test]
    fn a_capture_that_is_not_there_is_a_fault() {
        assert_eq!(
            fill("/{name}", "/orders/{id}", "/orders/7"),
            Err("`/{name}`: `name` is not in `/orders/{id}`".into())
        );
    }
}
