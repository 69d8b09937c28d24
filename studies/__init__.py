"""Many runs, and the page about them; a fork that needs none deletes this folder."""
