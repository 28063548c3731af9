//! Markdown tables that read as plain text too.

/// A row of these.
pub fn titles(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Where there is no figure.
pub fn dash() -> String {
    "-".to_owned()
}

/// With so many digits.
pub fn shown(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(dash, |figure| format!("{figure:.digits$}"))
}

/// A table, padded; the first row is the head.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    let rule: Vec<String> = widths.iter().enumerate().map(|(at, width)| rule(at, *width)).collect();
    lines.insert(1.min(lines.len()), format!("|{}|", rule.join("|")));
    lines.join("\n")
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .enumerate()
        .map(|(at, (cell, width))| if at == 0 { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") })
        .collect();
    format!("|{}|", cells.join("|"))
}

fn rule(column: usize, width: usize) -> String {
    if column == 0 { "-".repeat(width + 2) } else { format!("{}:", "-".repeat(width + 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rows = [titles(&["a", "b"]), titles(&["long", "1.25"])];
        assert_eq!(table(&rows), "| a    |    b |\n|------|-----:|\n| long | 1.25 |");
    }
}
