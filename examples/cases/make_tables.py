r"""
The tables of these examples, and what is true in them
======================================================

After this page you will know how the tables of the case studies were drawn, and what is
true in them.

Six small tables as people have them, drawn from known rules. ``truth`` is the answer of
a perfect model for a row. It is not a feature; the examples check their results by it.
``python make_tables.py --write`` writes the files anew.
"""

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd


# %%
# Churn
# -----
# Customers of three countries; 25 of the 225 in Germany have a label. The log-odds of
# leaving depend on plan, age and the time since the contract began. France is like
# Germany but for the level; in the US age works the other way round.
def churn():
    rng = np.random.default_rng(1)
    n = 725
    country = np.repeat(["FR", "US", "DE"], [350, 150, 225])
    plan = rng.choice(["basic", "family", "student", "pro"], n, p=[0.4, 0.3, 0.2, 0.1])
    age, months = rng.normal(45, 12, n).clip(18, 90).round(), rng.integers(1, 60, n)
    effect = pd.Series({"basic": 0.3, "family": -1.2, "student": 1.5, "pro": -0.5})
    slope = np.where(country == "US", 0.06, -0.06)
    logit = effect[plan].to_numpy() + slope * (age - 45) - 0.06 * (months - 30)
    logit += np.where(country == "DE", -0.4, 0.0)
    truth = 1 / (1 + np.exp(-logit))
    label = np.where(rng.uniform(size=n) < truth, "left", "stayed").astype(object)
    label[525:] = None
    start = pd.Timestamp("2024-12-01") - pd.to_timedelta(30.4 * months, unit="D")
    age[rng.uniform(size=n) < 0.08] = np.nan
    return pd.DataFrame(
        {
            "customer": 5000 + rng.permutation(n),
            "country": country,
            "plan": np.where(rng.uniform(size=n) < 0.05, None, plan),
            "age": age,
            "since": start.strftime("%d.%m.%y"),
            "churn": label,
            "truth": truth.round(4),
        }
    )


# %%
# Claims
# ------
# Counts of claims with the years at risk. There are 90 policies of motorcycles with a
# known count. The rate depends on age and region in the same way for all vehicles; vans
# have 0.8 times the rate of cars, motorcycles 1.05 times.
def claims():
    rng = np.random.default_rng(6)
    n = 1060
    vehicle = np.repeat(["car", "van", "motorcycle"], [500, 200, 360])
    region = rng.choice(["north", "south", "city", "coast", "hills"], n)
    age, years = rng.integers(18, 80, n), rng.uniform(0.1, 3.0, n).round(2)
    effect = pd.Series(
        {"north": 0.0, "south": -0.8, "city": 0.9, "coast": 0.4, "hills": -0.5}
    )
    factor = pd.Series({"car": 1.0, "van": 0.8, "motorcycle": 1.05})
    log_rate = -0.7 + effect[region].to_numpy() - 0.03 * (age - 45)
    truth = factor[vehicle].to_numpy() * np.exp(log_rate)
    counts = rng.poisson(truth * years).astype(float)
    counts[790:] = np.nan
    return pd.DataFrame(
        {
            "vehicle": vehicle,
            "region": region,
            "age": age,
            "years": years,
            "claims": counts,
            "truth": truth.round(4),
        }
    )


# %%
# Sites
# -----
# Three visits each of patients at five hospitals, whose scanners have scales of their
# own. The site Lyon came last: 10 of its 60 patients have a diagnosis.
def sites():
    rng = np.random.default_rng(3)
    site = np.repeat(["Oslo", "Turin", "Ghent", "Porto", "Lyon"], [35, 35, 35, 35, 60])
    ill = rng.permutation(np.arange(200) % 2)
    place = np.unique(site, return_inverse=True)[1]
    center, unit = rng.normal(0, 4, size=(5, 3)), rng.uniform(0.5, 2.5, size=(5, 3))
    patient = rng.normal(size=(200, 3)) + 1.8 * ill[:, None] * [1.0, 1.0, 0.5]
    rows = np.repeat(np.arange(200), 3)
    scans = patient[rows] + 0.5 * rng.normal(size=(600, 3))
    scans = center[place[rows]] + unit[place[rows]] * scans
    table = pd.DataFrame(scans.round(3), columns=["volume", "signal", "texture"])
    table["site"], table["patient"] = site[rows], [f"P{k:03d}" for k in rows]
    table["state"] = np.where(ill[rows] == 1, "ill", "healthy").astype(object)
    table["truth"] = table["state"]
    table.loc[rows >= 150, "state"] = None
    return table


# %%
# Spectra
# -------
# Fat in 80 samples by an old spectrometer. The new one is shifted by a channel, more
# sensitive, and has an offset; 10 samples were measured on both, and 8 more have a
# laboratory value.
def spectra():
    rng = np.random.default_rng(4)
    grid = np.arange(40)
    peaks = np.exp(-0.5 * (grid - np.array([[8], [17], [26], [33]])) ** 2 / 12)
    amounts = rng.uniform(0.2, 1.0, size=(150, 4))
    clean = amounts @ peaks
    old = clean + 0.003 * rng.normal(size=clean.shape)
    new = 1.2 * np.roll(clean, 1, axis=1) + 0.08
    new += 0.003 * rng.normal(size=clean.shape)
    rows = np.concatenate([np.arange(80), np.arange(10), np.arange(80, 150)])
    values = np.concatenate([old[:80], new[:10], new[80:]])
    table = pd.DataFrame(values.round(4), columns=[f"nm{1000 + 10 * k}" for k in grid])
    table["instrument"] = np.repeat(["old", "new"], [80, 80])
    table["sample"] = np.where(rows < 10, [f"S{k}" for k in rows], None)
    table["truth"] = (20 * amounts[rows, 0]).round(3)
    table["fat"] = (table["truth"] + 0.2 * rng.normal(size=160)).round(2)
    known = (np.arange(160) < 80) | np.isin(np.arange(160), np.arange(90, 98))
    table["fat"] = table["fat"].where(known)
    return table


# %%
# Schools
# -------
# Mathematics scores of 7185 students of 160 schools, 70 of them Catholic, after the
# table Hsb82 of the survey High School and Beyond (1982). The copies of that table at
# hand are parts of packages under the GPL, so this one is drawn anew, from the
# two-level model that S. W. Raudenbush and A. S. Bryk published of it ("Hierarchical
# Linear Models", 2nd edition, 2002, chapter 4). Level and slope of a school depend on
# its sector and mean status, with variances of 2.38 and 0.15 between schools and 36.7
# between students. Ten students of the last school have a score.
def schools():
    rng = np.random.default_rng(7)
    size = rng.normal(45, 11, 160).round().clip(14, 67).astype(int)
    while size.sum() != 7185:
        one = rng.integers(160)
        size[one] = np.clip(size[one] + np.sign(7185 - size.sum()), 14, 67)
    rows, catholic = np.repeat(np.arange(160), size), rng.permutation(160) < 70
    status = rng.normal(np.where(catholic, 0.16, -0.14), 0.39)
    ses = (status[rows] + 0.66 * rng.normal(size=7185)).round(2)
    mean = (np.bincount(rows, ses) / size).round(2)
    level, slope = (np.sqrt([2.38, 0.15]) * rng.normal(size=(160, 2))).T
    level += 12.10 + 5.33 * mean + 1.23 * catholic
    slope += 2.94 + 1.03 * mean - 1.64 * catholic
    truth = level[rows] + slope[rows] * (ses - mean[rows])
    score = truth + np.sqrt(36.7) * rng.normal(size=7185)
    score[(rows == 159) & (np.arange(7185) >= 7185 - size[159] + 10)] = np.nan
    return pd.DataFrame(
        {
            "school": [f"S{k + 1:03d}" for k in rows],
            "sector": np.where(catholic, "Catholic", "Public")[rows],
            "ses": ses,
            "mean_ses": mean[rows],
            "math": score.round(2),
            "truth": truth.round(2),
        }
    )


# %%
# Activity
# --------
# Windows of 64 readings of a phone's accelerometer and gyroscope, 25 per second, as
# seven people rest, walk and take the stairs. A step lifts and pushes the body and
# turns the leg. Strength and pace are each person's own, and change a little with every
# bout of three windows. The phone lies in a pocket, or tilted at the belt, where the
# leg hardly turns it. What is kept of a window are means and standard deviations by
# axis, and four numbers of the size of the acceleration. Fred's log is one bout late.
# Noa is new: two bouts of each of her activities have a label.
PEOPLE = {  # steps per second, strength, tilts of the phone, swing that it sees
    "Ada": (1.90, 1.00, (0.3, 0.2), 1.0),
    "Ben": (1.80, 1.10, (0.3, 0.2), 1.0),
    "Cem": (2.00, 0.90, (0.3, 0.2), 1.0),
    "Dora": (2.10, 0.90, (-0.5, 1.2), 0.35),
    "Emil": (1.70, 1.20, (-0.5, 1.2), 0.35),
    "Fred": (1.90, 1.00, (0.3, 0.2), 1.0),
    "Noa": (2.05, 0.85, (0.3, 0.2), 1.0),
}
MOVES = {  # pace, push, lift, its second beat, turn of the leg
    "rest": (0.0, 0.0, 0.0, 0.0, 0.0),
    "walk": (1.0, 0.25, 0.35, 0.15, 1.0),
    "upstairs": (0.86, 0.2, 0.3, 0.1, 1.3),
    "downstairs": (0.95, 0.15, 0.4, 0.3, 0.8),
}


def window(rng, step, swing, move, turn):
    """Return the readings of one window: acceleration and turning by axis."""
    _, push, lift, beat, leg = move
    phase = 2 * np.pi * step * np.arange(64) / 25 + rng.uniform(0, 2 * np.pi)
    side = np.sin(phase / 2 + rng.uniform(0, 2 * np.pi))
    up = lift * np.cos(phase) + beat * np.cos(2 * phase + 0.5)
    sway = 0.1 * (step > 0)
    body = np.stack([push * np.sin(phase), sway * side, up])
    turning = np.stack([2 * sway * side, leg * side, sway * np.cos(phase)])
    body = turn @ (body + [[0], [0], [1]]) + 0.12 * rng.normal(size=(3, 64))
    return body, turn @ (swing * turning) + 0.1 * rng.normal(size=(3, 64))


def rotation(tilts):
    """Return the matrix that turns the body's axes into those of the phone."""
    (a, b), (c, d) = np.cos(tilts), np.sin(tilts)
    return np.array([[b, -d * a, d * c], [d, b * a, -b * c], [0, c, a]])


def numbers(body, turning):
    """Return what is kept of a window."""
    size = np.linalg.norm(body, axis=0)
    power = np.abs(np.fft.rfft(size - size.mean()))[1:]
    beat = np.fft.rfftfreq(64, 1 / 25)[1:]
    kept = dict(zip(["acc_x", "acc_y", "acc_z"], body.mean(axis=1), strict=True))
    kept |= dict(
        zip(["acc_sd_x", "acc_sd_y", "acc_sd_z"], body.std(axis=1), strict=True)
    )
    kept |= dict(zip(["gyro_x", "gyro_y", "gyro_z"], turning.std(axis=1), strict=True))
    kept |= {"size_sd": size.std(), "jerk": 25 * np.abs(np.diff(size)).mean()}
    return kept | {
        "beat": beat[power.argmax()],
        "mean_beat": power @ beat / power.sum(),
    }


def activity():
    rng, rows = np.random.default_rng(8), []
    for person, (pace, strength, tilts, swing) in PEOPLE.items():
        tilts = tilts + 0.15 * rng.normal(size=2)
        bouts = rng.permutation(np.repeat(list(MOVES), 9 if person == "Noa" else 4))
        for k, name in enumerate(bouts):
            pace_now = MOVES[name][0] * pace * np.exp(0.1 * rng.normal())
            force = strength * np.exp(0.25 * rng.normal())
            turn = rotation(tilts + 0.1 * rng.normal(size=2))
            move = force * np.array(MOVES[name])
            for _ in range(3):
                kept = numbers(*window(rng, pace_now, swing, move, turn))
                names = {"person": person, "bout": f"{person}-{k:02d}"}
                rows.append({**kept, **names, "activity": name, "truth": name})
    table = pd.DataFrame(rows).round(3)
    fred, noa = (table["person"] == name for name in ("Fred", "Noa"))
    table.loc[fred, "activity"] = np.roll(table.loc[fred, "truth"], 3)
    first = table[noa].drop_duplicates("bout").groupby("truth")["bout"].head(2)
    table.loc[noa & ~table["bout"].isin(first), "activity"] = None
    return table


# %%
# What is true in the target of each table:
TABLES = {
    "churn": churn,
    "claims": claims,
    "sites": sites,
    "spectra": spectra,
    "schools": schools,
    "activity": activity,
}
parser = argparse.ArgumentParser()
parser.add_argument("--write", action="store_true")
args, _ = parser.parse_known_args()
figure, axes = plt.subplots(2, 3, figsize=(9, 6), layout="constrained")
for ax, (name, make) in zip(axes.flat, TABLES.items(), strict=True):
    table = make()
    if args.write:
        table.to_csv(Path(sys.argv[0]).with_name(f"{name}.csv"), index=False)
    print(f"{name}: {len(table)} rows of {', '.join(table.columns[:6])}, ...")
    ax.hist(table["truth"])
    ax.set_title(f"{name}: truth")
plt.show()
