//! Throughput and latency over load, as an SVG.

use anyhow::anyhow;
use plotters::{coord::Shift, prelude::*};

use super::report::{Load, Measured, Report};

const SIZE: (u32, u32) = (900, 1_050);
const PANELS: usize = 3;
const RATE: RGBColor = RGBColor(0, 90, 160);
const FLOOR: RGBColor = RGBColor(20, 130, 60);
const BROKER: RGBColor = RGBColor(170, 90, 0);
const P50: RGBColor = RGBColor(0, 90, 160);
const P99: RGBColor = RGBColor(190, 30, 45);

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A line in a panel.
struct Line {
    name: String,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws the report.
pub(super) fn svg(report: &Report) -> anyhow::Result<String> {
    let mut drawing = String::new();
    {
        let root = SVGBackend::with_string(&mut drawing, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let titled = root.titled(&report.of, ("sans-serif", 20)).map_err(failed)?;
        let panels = titled.split_evenly((PANELS, 1));
        let closed = closed(report);
        let mut rates = vec![line("sagas/s", RATE, &closed, report, "sagasPerSecond")];
        if let Some(limits) = &report.limits {
            let floor = level("the floor", FLOOR, &closed, limits.floor.sagas_a_second);
            let broker = limits.broker.as_ref();
            let broker =
                broker.map(|b| level("the broker's limit", BROKER, &closed, b.sagas_a_second));
            rates.extend([floor].into_iter().chain(broker));
        }
        panel(&panels[0], "completed sagas a second", "orders in flight", &rates)?;
        let mut waits = latencies(&closed, report);
        if let Some(limits) = &report.limits {
            waits.push(level("unavoidable", FLOOR, &closed, limits.sum().millis()));
        }
        panel(&panels[1], "latency in ms", "orders in flight", &waits)?;
        let open = open(report);
        panel(
            &panels[2],
            "latency in ms, from when an order was to come",
            "orders a second",
            &latencies(&open, report),
        )?;
        root.present().map_err(failed)?;
    }
    Ok(drawing)
}

fn closed(report: &Report) -> Vec<(f64, &Measured)> {
    let of = |this| match this {
        Load::Closed { in_flight } => Some(f64::from(in_flight)),
        Load::Open { .. } => None,
    };
    over(report, of)
}

fn open(report: &Report) -> Vec<(f64, &Measured)> {
    let of = |this| match this {
        Load::Closed { .. } => None,
        Load::Open { a_second, .. } => Some(a_second),
    };
    over(report, of)
}

/// Returns the loads and their weights, sorted by weight.
fn over(report: &Report, weight: impl Fn(Load) -> Option<f64>) -> Vec<(f64, &Measured)> {
    let mut loads: Vec<_> =
        report.measured.iter().filter_map(|this| Some((weight(this.load)?, this))).collect();
    loads.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    loads
}

fn latencies(loads: &[(f64, &Measured)], report: &Report) -> Vec<Line> {
    vec![
        line("p50", P50, loads, report, "latencyMillis.p50"),
        line("p99", P99, loads, report, "latencyMillis.p99"),
    ]
}

fn line(
    name: &str,
    colour: RGBColor,
    loads: &[(f64, &Measured)],
    report: &Report,
    figure: &str,
) -> Line {
    let point = |(x, this): &(f64, &Measured)| Some((*x, report.figures(this).get(figure)?));
    Line { name: name.to_owned(), colour, points: loads.iter().filter_map(point).collect() }
}

fn level(name: &str, colour: RGBColor, loads: &[(f64, &Measured)], height: f64) -> Line {
    let points = loads.iter().map(|(x, _)| (*x, height)).collect();
    Line { name: format!("{name}: {height:.0}"), colour, points }
}

/// Draws a panel. Both axes are logarithmic, because loads double.
fn panel(area: &Panel<'_>, what: &str, over: &str, lines: &[Line]) -> anyhow::Result<()> {
    let points =
        || lines.iter().flat_map(|line| &line.points).filter(|(x, y)| *x > 0.0 && *y > 0.0);
    let reach = |of: fn(&(f64, f64)) -> f64| {
        let values = || points().map(of);
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        (low * 0.7, high * 1.5)
    };
    if points().next().is_none() {
        return Ok(());
    }
    let ((left, right), (bottom, top)) = (reach(|point| point.0), reach(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(what, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((left..right).log_scale(), (bottom..top).log_scale())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc(over)
        .x_label_formatter(&whole)
        .y_label_formatter(&whole)
        .light_line_style(WHITE)
        .draw()
        .map_err(failed)?;
    for Line { name, colour, points } in lines {
        let (colour, name) = (*colour, name.as_str());
        chart
            .draw_series(
                LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3),
            )
            .map_err(failed)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(failed)?;
    Ok(())
}

fn whole(number: &f64) -> String {
    format!("{number:.0}")
}

/// Converts a drawing error. Only memory is written, so the user could not correct any cause.
fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot cannot be drawn: {error}")
}
