"""`make site`: the folder to publish, made anew, and nobody else's folder removed."""

from click.testing import CliRunner

from tools import site


def test_the_site_has_every_reference_and_is_made_anew(tmp_path, monkeypatch):
    references = tmp_path / "reference"
    references.mkdir()
    (references / "seed-cpu").symlink_to(site.REFERENCE / "seed-cpu")
    monkeypatch.setattr(site, "REFERENCE", references)
    out = tmp_path / "site"
    for _ in range(2):
        done = CliRunner().invoke(site.main, [str(out)])
        assert done.exit_code == 0, done.output
    index = (out / "index.html").read_text()
    for name in ("seed-cpu/report.html", "seed-cpu/waste.svg"):
        assert name in index
        assert (out / name).is_file()


def test_a_folder_of_somebody_else_stays(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    done = CliRunner().invoke(site.main, [str(tmp_path)])
    assert done.exit_code == 2
    assert "no site of ours" in done.output
    assert (tmp_path / "thesis.tex").exists()
