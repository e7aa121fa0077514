use super::*;
use crate::wire::{
    ArpRepr,
    samples::{ADVERT, ANNOUNCER, ASKER, DUPLICATE_DETECTION, REPLY, REQUEST, SOLICIT, UNSOLICITED_ADVERT},
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn every_frame_says_who_has_or_wants_what() {
    let sample = |bytes: &[u8]| Frame::parse(bytes).unwrap();
    let arp = |change: &dyn Fn(&mut ArpRepr)| {
        let Frame::Arp { ethernet, mut arp } = sample(&REQUEST) else { unreachable!() };
        change(&mut arp);
        Frame::Arp { ethernet, arp }
    };
    let unspecified = |arp: &mut ArpRepr| arp.sender = [0; 4].into();
    let rows = [
        ("request", sample(&REQUEST), Some(Says::Has(ip("192.0.2.9"), ASKER))),
        ("reply", sample(&REPLY), Some(Says::Has(ip("192.0.2.50"), ANNOUNCER))),
        ("announcement", arp(&|arp| arp.sender = arp.target), Some(Says::Has(ip("192.0.2.50"), ASKER))),
        ("probe", arp(&unspecified), Some(Says::Wants(ip("192.0.2.50"), ASKER))),
        ("probe for nothing", arp(&|arp| (arp.sender, arp.target) = ([0; 4].into(), [0; 4].into())), None),
        (
            "reply of nobody",
            arp(&|arp| (arp.sender, arp.operation) = ([0; 4].into(), ArpOperation::Reply)),
            None,
        ),
        ("solicitation", sample(&SOLICIT), Some(Says::Has(ip("2001:db8::9"), ASKER))),
        (
            "duplicate address detection",
            sample(&DUPLICATE_DETECTION),
            Some(Says::Wants(ip("2001:db8::50"), ASKER)),
        ),
        ("advertisement", sample(&ADVERT), Some(Says::Has(ip("2001:db8::50"), ANNOUNCER))),
        ("advertisement to all", sample(&UNSOLICITED_ADVERT), Some(Says::Has(ip("2001:db8::50"), ANNOUNCER))),
    ];
    for (name, frame, expected) in rows {
        assert_eq!(says(&frame), expected, "{name}");
    }
}

#[test]
fn an_address_is_defended_once_in_ten_seconds_each_for_itself() {
    let mut defences = Defences::default();
    let at = |millis| Instant::from_micros(1_000_000) + Duration::from_millis(millis);
    let (one, other) = (ip("192.0.2.50"), ip("2001:db8::50"));
    let permitted: Vec<u64> =
        (0..35_000).step_by(500).filter(|millis| defences.permit(one, at(*millis))).collect();
    assert_eq!(permitted, [0, 10_000, 20_000, 30_000]);
    assert!(defences.permit(other, at(30_001)));
    assert!(!defences.permit(one, at(39_999)));
    assert!(defences.permit(other, at(60_000)));
    assert_eq!(defences.last.len(), 1, "what no longer counts is forgotten");
}
