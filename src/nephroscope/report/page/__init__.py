"""What all pages share: tables, sections, figures, and the frame they are written into."""
