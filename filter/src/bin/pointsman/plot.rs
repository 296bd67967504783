//! Plot: accuracy of what is decided against the share that is handed over, as a PNG.
//!
//! `embedded-graphics` draws lines and text with fonts of its own, so that no system library or font is needed.

use std::convert::Infallible;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::FONT_9X15;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Circle, Line, Polyline, PrimitiveStyle};
use embedded_graphics::text::{Alignment, Text};

use crate::report::Point as Measured;

const WIDTH: i32 = 800;
const HEIGHT: i32 = 500;
/// Around the axes, in pixels.
const LEFT: i32 = 80;
const RIGHT: i32 = 30;
const TOP: i32 = 50;
const BOTTOM: i32 = 70;

const INK: Rgb888 = Rgb888::new(40, 40, 40);
const GRID: Rgb888 = Rgb888::new(225, 225, 225);
const CURVE: Rgb888 = Rgb888::new(0, 90, 160);

/// Pixels, three bytes each.
struct Image(Vec<u8>);

impl OriginDimensions for Image {
    fn size(&self) -> Size {
        Size::new(WIDTH as u32, HEIGHT as u32)
    }
}

impl DrawTarget for Image {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(at, color) in pixels {
            if (0..WIDTH).contains(&at.x) && (0..HEIGHT).contains(&at.y) {
                let from = ((at.y * WIDTH + at.x) * 3) as usize;
                self.0[from..from + 3].copy_from_slice(&[color.r(), color.g(), color.b()]);
            }
        }
        Ok(())
    }
}

pub fn write(path: &Path, curve: &[Measured]) -> Result<()> {
    let image = draw(curve);
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), WIDTH as u32, HEIGHT as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&image.0)?;
    writer.finish()?;
    Ok(())
}

fn draw(curve: &[Measured]) -> Image {
    let mut image = Image(vec![255; (WIDTH * HEIGHT * 3) as usize]);
    let measured = || {
        curve
            .iter()
            .filter_map(|p| Some((p.handed_over, p.decided_accuracy?, p.min_confidence)))
    };
    // From the tenth below the lowest.
    let lowest = measured()
        .map(|(_, accuracy, _)| accuracy)
        .fold(1.0, f64::min);
    let floor = ((lowest * 10.0).floor() / 10.0).min(0.9);
    let x = |share: f64| LEFT + (share * f64::from(WIDTH - LEFT - RIGHT)) as i32;
    let y = |accuracy: f64| {
        let height = f64::from(HEIGHT - TOP - BOTTOM);
        TOP + ((1.0 - (accuracy - floor) / (1.0 - floor)) * height) as i32
    };
    let ink = MonoTextStyle::new(&FONT_9X15, INK);
    let text = |words: &str, at: Point, alignment: Alignment, image: &mut Image| {
        let Ok(_) = Text::with_alignment(words, at, ink, alignment).draw(image);
    };
    let line = |from: Point, to: Point, color: Rgb888, image: &mut Image| {
        let Ok(()) = Line::new(from, to)
            .into_styled(PrimitiveStyle::with_stroke(color, 1))
            .draw(image);
    };
    for tenth in 0..=10 {
        let at = x(f64::from(tenth) / 10.0);
        line(
            Point::new(at, TOP),
            Point::new(at, HEIGHT - BOTTOM),
            GRID,
            &mut image,
        );
        if tenth % 2 == 0 {
            text(
                &format!("{}%", tenth * 10),
                Point::new(at, HEIGHT - BOTTOM + 20),
                Alignment::Center,
                &mut image,
            );
        }
    }
    let steps = ((1.0 - floor) * 20.0).round() as i32;
    for step in 0..=steps {
        let accuracy = floor + f64::from(step) / 20.0;
        let at = y(accuracy);
        line(
            Point::new(LEFT, at),
            Point::new(WIDTH - RIGHT, at),
            GRID,
            &mut image,
        );
        text(
            &format!("{:.0}%", accuracy * 100.0),
            Point::new(LEFT - 8, at + 4),
            Alignment::Right,
            &mut image,
        );
    }
    text(
        "right, of what is decided here, against the share handed over",
        Point::new(LEFT, 28),
        Alignment::Left,
        &mut image,
    );
    text(
        "handed over to the next step",
        Point::new((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 22),
        Alignment::Center,
        &mut image,
    );
    let points: Vec<Point> = measured()
        .map(|(share, accuracy, _)| Point::new(x(share), y(accuracy)))
        .collect();
    let Ok(()) = Polyline::new(&points)
        .into_styled(PrimitiveStyle::with_stroke(CURVE, 2))
        .draw(&mut image);
    for (share, accuracy, least) in measured() {
        let is_tenth = [0.5, 0.6, 0.7, 0.8, 0.9].contains(&least);
        if is_tenth {
            let at = Point::new(x(share), y(accuracy));
            let Ok(()) = Circle::with_center(at, 8)
                .into_styled(PrimitiveStyle::with_fill(CURVE))
                .draw(&mut image);
            text(
                &format!("{least:.1}"),
                at + Point::new(0, 22),
                Alignment::Center,
                &mut image,
            );
        }
    }
    image
}
